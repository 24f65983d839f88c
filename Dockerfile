# MeiGen over HTTP, in front of one account. MEIGEN_HTTP_TOKEN is what its clients must send.
#   docker build -t meigen-mcp .
#   docker run -p 8765:8765 -v meigen:/data -e MEIGEN_API_TOKEN -e MEIGEN_HTTP_TOKEN meigen-mcp
# Under another name than localhost, end with: --allowed-host NAME
FROM python:3.13-slim
COPY pyproject.toml README.md LICENSE /src/
COPY meigen_mcp /src/meigen_mcp
RUN pip install --no-cache-dir /src \
    && rm -r /src \
    && useradd --system --uid 10001 --no-create-home meigen \
    && install -d -o meigen -m 700 /data
USER 10001
ENV MEIGEN_DATA_DIR=/data/ledger MEIGEN_OUTPUT_DIR=/data/media
VOLUME /data
EXPOSE 8765
HEALTHCHECK --interval=30s --timeout=5s --start-period=15s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8765/healthz')"]
ENTRYPOINT ["meigen-mcp", "serve", "--http", "--host", "0.0.0.0"]
