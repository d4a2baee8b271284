# gs3d with CUDA, and gsplat's kernels compiled ahead, so that the first run does not wait for them.
#   docker build -t gs3d .
#   docker run --rm --gpus all -v "$PWD/outputs:/data/outputs" -v gs3d-models:/cache gs3d \
#     generate "a DSLR photo of a corgi puppy" --minutes 15
# The build needs no GPU. It has not been run yet: where gs3d is made there is neither a Docker
# daemon nor a network that reaches nvidia/cuda. Its two stages have the CUDA release that torch is
# built for; the first has nvcc, the second, which is kept, has not (so there `compile: true` of a
# config fails). Kernels for the CPU are compiled at the first run: they depend on its processor.
ARG CUDA=13.0.2

FROM nvidia/cuda:${CUDA}-devel-ubuntu24.04 AS build
# The cards to compile for: A100, RTX 30, RTX 40, H100 and, through PTX, later ones.
ARG TORCH_CUDA_ARCH_LIST="8.0;8.6;8.9;9.0+PTX"
ARG MAX_JOBS=8
ENV TORCH_CUDA_ARCH_LIST=${TORCH_CUDA_ARCH_LIST} MAX_JOBS=${MAX_JOBS} PIP_NO_CACHE_DIR=1
RUN apt-get update \
    && apt-get install -y --no-install-recommends g++ ninja-build python3-dev python3-venv \
    && rm -rf /var/lib/apt/lists/* && python3 -m venv /gs3d
ENV PATH=/gs3d/bin:$PATH
COPY constraints.txt /src/
RUN pip install -c /src/constraints.txt torch numpy setuptools wheel
# The wheel of gsplat has no kernels; its source is compiled here against the torch above.
RUN pip install -c /src/constraints.txt --no-build-isolation --no-binary gsplat gsplat
COPY . /src
RUN pip install -c /src/constraints.txt "/src[lora,view]"

FROM nvidia/cuda:${CUDA}-base-ubuntu24.04
RUN apt-get update && apt-get install -y --no-install-recommends python3 \
    && rm -rf /var/lib/apt/lists/* \
    && mkdir -p /data /cache && chmod 1777 /data /cache
COPY --from=build /gs3d /gs3d
ENV PATH=/gs3d/bin:$PATH HF_HOME=/cache/huggingface XDG_CACHE_HOME=/cache HOME=/cache
WORKDIR /data
ENTRYPOINT ["gs3d"]
CMD ["doctor"]
