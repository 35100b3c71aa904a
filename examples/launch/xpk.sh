#!/bin/sh
# GKE through XPK: a workload on a TPU slice. CLUSTER and IMAGE (with this repository in
# /hopfield_attn and its environment in .venv) are yours; RUN and DATA are on a mounted bucket.
set -eu
xpk workload create --cluster="$CLUSTER" --workload=hopfield --tpu-type=v5litepod-16 \
  --num-slices=1 --docker-image="$IMAGE" --command="
  cd /hopfield_attn && .venv/bin/python scripts/train.py \
    --config=configs/mlm.py:size=base --config.data.source=$DATA --workdir=$RUN \
    --config.mesh.fsdp=16 --config.train.watchdog_seconds=900"
