# One image for every service:  docker run IMAGE services.sender
FROM python:3.13-slim

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /app

# The dependencies first: they change seldom, and this layer is kept as long as they do not.
COPY pyproject.toml ./
RUN python -c "import tomllib; project = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
        print(*project['dependencies'], *project['optional-dependencies']['otel'], sep='\n')" \
        > /tmp/dependencies \
    && pip install --requirement /tmp/dependencies \
    && rm /tmp/dependencies

COPY README.md LICENSE ./
COPY shared shared
COPY services services
COPY cli cli
RUN pip install --no-deps . && useradd --system --uid 10001 --home-dir /app --no-create-home pillarbox \
    && install --directory --owner pillarbox --mode 700 /definitions /var/lib/pillarbox/journal

USER pillarbox
ENTRYPOINT ["python", "-m"]
CMD ["cli", "--help"]
