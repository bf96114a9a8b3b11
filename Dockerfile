# docker build -t sd-studio . && docker run --rm -it -p 127.0.0.1:8501:8501 -v "$PWD/workspace:/workspace" sd-studio
# With a GPU add `--gpus all`. Open the address that it prints; the token in it is kept in the workspace.
FROM python:3.11-slim

RUN useradd --create-home studio && install -d -o studio /workspace
WORKDIR /studio
COPY requirements.txt .
RUN pip install --no-cache-dir -r requirements.txt
COPY . .
RUN pip install --no-cache-dir --no-deps -e .

USER studio
ENV SDSTUDIO_WORKSPACE=/workspace
VOLUME /workspace
EXPOSE 8501
HEALTHCHECK CMD ["python", "-c", "import socket; socket.create_connection(('127.0.0.1', 8501), 5)"]
CMD ["sdstudio", "run", "--address", "0.0.0.0"]
