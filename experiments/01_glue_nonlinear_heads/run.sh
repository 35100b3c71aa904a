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

# sweep TASK ROWS STEPS LENGTH COUPLING HEADS [ARGUMENT ...]
sweep() {
  task=$1 rows=$2 steps=$3 length=$4 coupling=$5 heads=$6
  shift 6
  "$here/scripts/sweep" --config="$here/configs/finetune.py:task=$task" --workdir="$runs/$task-$coupling" \
    --config.model.pretrained="$bert" --config.data.dir="$glue" --config.data.max_train_examples="$rows" \
    --config.data.length="$length" --config.data.length_multiple=8 --config.train.num_steps="$steps" --config.model.coupling="$coupling" \
    "$@" "seed=$seeds" "model.heads=$heads"
}

# Task, training rows (0 is all), steps of 32 rows, tokens.
for setting in 'cola 0 801 32' 'sst2 5000 156 48' 'rte 0 312 96' 'stsb 0 720 64'; do
  # shellcheck disable=SC2086  # four words
  sweep $setting pooled identity,quadratic,log_cosh,spline "$@"
  # shellcheck disable=SC2086
  sweep $setting pairwise quadratic,log_cosh,spline "$@"
done
