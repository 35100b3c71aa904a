#!/bin/sh
# Trains quadratic heads at every λ, and linear ones, on two generated tasks; goes on where it stopped.
#
#   ./experiments/04_lambda/run.sh RUNS [SEEDS] [TASKS] [ARGUMENT ...]
#
# SEEDS is 0,1,2,3,4 by default, TASKS match3,retrieval. Further arguments go to every ./scripts/sweep:
# --collect, --print or --config.KEY=VALUE.
set -eu
runs=$1 seeds=${2:-0,1,2,3,4} tasks=${3:-match3,retrieval}
shift
[ $# -eq 0 ] || shift
[ $# -eq 0 ] || shift
here=$(CDPATH='' cd -P -- "${0%/*}/../.." && pwd)
. "$here/experiments/sweep.sh"

# sweep TASK NAME HEADS AXIS [ARGUMENT ...]
sweep() {
  task=$1 name=$2 heads=$3 axis=$4
  shift 4
  sweep_on --config="$here/configs/synthetic.py:task=$task" --workdir="$runs/$task-$name" \
    --config.model.width=64 --config.model.mlp_width=128 --config.model.num_steps=4 --config.model.alpha_init=1.0 \
    --config.optimizer.learning_rate=2e-3 --config.train.num_steps=1500 --config.train.eval_every=100 \
    --config.train.checkpoint_every=750 --config.train.keep_checkpoints=1 --config.data.num_eval_examples=500 \
    "$@" "seed=$seeds" "model.heads=$heads" "$axis"
}

for task in $(printf '%s' "$tasks" | tr ',' ' '); do
  sweep "$task" linear identity model.lam=1.0 "$@"
  sweep "$task" fixed quadratic model.lam=0.0,0.1,0.3,1.0,3.0,10.0,100.0 "$@"
  sweep "$task" auto quadratic model.auto_lam=True "$@"
done

exit $failed
