#!/bin/sh
# sbatch examples/launch/slurm.sh: two nodes of eight GPUs, a process a node. DATA and RUN (a folder
# on a shared disk) are yours; the state is saved two minutes before the time is up, and the job put
# back into the queue.
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --time=12:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
set -eu
# The environment is made once, before the processes start; the run folder is on a shared disk.
HOPFIELD_EXTRAS=cuda ./scripts/doctor
code=0
srun --kill-on-bad-exit=1 ./.venv/bin/python scripts/train.py \
  --config=configs/mlm.py:size=base --config.data.source="$DATA" --workdir="$RUN" \
  --config.mesh.fsdp=8 --config.train.watchdog_seconds=900 || code=$?
# 75: stopped before its end, and the same command goes on.
[ "$code" -ne 75 ] || scontrol requeue "$SLURM_JOB_ID"
exit "$code"
