#!/bin/sh
# Fine-tunes the BERT folder on four GLUE tasks, heads × coupling × seed; goes on where it stopped.
#
#   ./experiments/01_glue_nonlinear_heads/run.sh BERT GLUE_FOLDER RUNS [SEEDS] [ARGUMENT ...]
#
# SEEDS is 0,1,2 by default. Further arguments go to every ./scripts/sweep: --collect, --print or
# --config.KEY=VALUE, --config.train.num_steps=2 for a trial of the command.
set -eu
bert=$1 glue=$2 runs=$3 seeds=${4:-0,1,2}
shift 3
[ $# -eq 0 ] || shift
here=$(CDPATH='' cd -P -- "${0%/*}/../.." && pwd)
. "$here/experiments/sweep.sh"

# sweep COUPLING HEADS TASK ROWS STEPS LENGTH [ARGUMENT ...]
sweep() {
  coupling=$1 heads=$2 task=$3 rows=$4 steps=$5 length=$6
  shift 6
  sweep_on --config="$here/configs/finetune.py:task=$task" --workdir="$runs/$task-$coupling" \
    --config.model.pretrained="$bert" --config.data.dir="$glue" --config.data.max_train_examples="$rows" \
    --config.data.length="$length" --config.data.length_multiple=8 --config.train.num_steps="$steps" --config.model.coupling="$coupling" \
    "$@" "seed=$seeds" "model.heads=$heads"
}

# Task, training rows (0 is all), steps of 32 rows, tokens; for RTE a smaller rate, of α the same.
for setting in 'cola 0 801 32' 'sst2 5000 156 48' \
  'rte 0 624 96 --config.optimizer.learning_rate=5e-5 --config.optimizer.alpha_rate=100' 'stsb 0 720 64'; do
  # shellcheck disable=SC2086  # four words, and arguments
  sweep pooled identity,quadratic,log_cosh,spline $setting "$@"
  # shellcheck disable=SC2086
  sweep pairwise quadratic,log_cosh,spline $setting "$@"
done

exit $failed
