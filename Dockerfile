# docker build -t sd-studio . && docker run --rm -it -p 127.0.0.1:8501:8501 -v sd-studio:/workspace sd-studio
# With a GPU add `--gpus all` to the run; without one, `--build-arg TORCH=cpu` to the build saves gigabytes.
# Open the address that it prints. The token in it, all work and what comes from the Hub stay in the volume.
FROM python:3.11.14-slim-bookworm

ARG TORCH=cuda
RUN useradd --create-home studio && install -d -o studio /workspace
WORKDIR /studio
COPY requirements.txt .
RUN if [ "$TORCH" = cpu ]; then export PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu; fi \
    && pip install --no-cache-dir -r requirements.txt
COPY . .
RUN pip install --no-cache-dir --no-deps -e .

USER studio
ENV SDSTUDIO_WORKSPACE=/workspace HF_HOME=/workspace/cache/huggingface
VOLUME /workspace
EXPOSE 8501
HEALTHCHECK --start-period=60s CMD ["python", "-c", "from http.client import HTTPConnection as C; c = C('127.0.0.1', 8501, timeout=5); c.request('GET', '/_stcore/health'); assert c.getresponse().status in (200, 401)"]
CMD ["sdstudio", "run", "--address", "0.0.0.0"]
