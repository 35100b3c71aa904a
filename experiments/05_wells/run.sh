#!/bin/sh
# Trains log cosh heads on pattern retrieval, α from 0 and from 12, and linear ones; goes on where it
# stopped.
#
#   ./experiments/05_wells/run.sh RUNS [SEEDS] [ARGUMENT ...]
#
# SEEDS is 0,1,2,3,4 by default. Further arguments go to every ./scripts/sweep: --collect, --print or
# --config.KEY=VALUE.
set -eu
runs=$1 seeds=${2:-0,1,2,3,4}
shift
[ $# -eq 0 ] || shift
here=$(CDPATH='' cd -P -- "${0%/*}/../.." && pwd)
. "$here/experiments/sweep.sh"

# sweep NAME AXES [ARGUMENT ...], AXES separated by blanks
sweep() {
  name=$1 axes=$2
  shift 2
  # shellcheck disable=SC2086  # one word an axis
  sweep_on --config="$here/configs/synthetic.py:task=retrieval" --workdir="$runs/$name" \
    --config.model.width=64 --config.model.mlp_width=128 --config.model.num_steps=4 \
    --config.optimizer.learning_rate=2e-3 --config.optimizer.alpha_rate=10 --config.train.num_steps=1500 --config.train.eval_every=100 \
    --config.train.checkpoint_every=750 --config.train.keep_checkpoints=1 --config.data.num_eval_examples=500 \
    "$@" "seed=$seeds" $axes
}

sweep linear model.heads=identity "$@"
sweep log_cosh 'model.heads=log_cosh model.coupling=pooled,pairwise model.alpha_init=0.0,12.0' "$@"

exit $failed
