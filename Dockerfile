# MeiGen over HTTP, in front of one account. Your token comes from a file, and MEIGEN_HTTP_TOKEN is what
# clients must send: a random text of at least 24 characters. Under the name pictures.example, with a cap:
#   docker build -t meigen-mcp .
#   docker run -p 8765:8765 -v meigen:/data -v "$HOME/meigen-token:/run/secrets/meigen:ro" \
#     -e MEIGEN_HTTP_TOKEN -e MEIGEN_MAX_CREDITS_PER_DAY=500 meigen-mcp --allowed-host pictures.example
# The user 10001 must be able to read that file. docs/operating.md says more.
FROM python:3.13-slim
ARG EXTRAS=video
COPY pyproject.toml README.md LICENSE /src/
COPY meigen_mcp /src/meigen_mcp
RUN pip install --no-cache-dir "/src[$EXTRAS]" \
    && rm -r /src \
    && useradd --system --uid 10001 --no-create-home meigen \
    && install -d -o meigen -m 700 /data /data/media
USER 10001
ENV MEIGEN_DATA_DIR=/data/ledger MEIGEN_OUTPUT_DIR=/data/media MEIGEN_API_TOKEN_FILE=/run/secrets/meigen
VOLUME /data
EXPOSE 8765
HEALTHCHECK --interval=30s --timeout=5s --start-period=15s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8765/healthz')"]
ENTRYPOINT ["meigen-mcp", "serve", "--http", "--host", "0.0.0.0"]
