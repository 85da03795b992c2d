# One image for every process of the sandbox. It holds no key, password or token: `init` makes them when the sandbox first starts.
FROM python:3.13-slim
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1
WORKDIR /opt/sandroad
COPY requirements.lock ./
RUN pip install --require-hashes --only-binary :all: --root-user-action=ignore -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY sandroad sandroad
COPY gateway gateway
COPY services services
COPY usecases usecases
COPY contracts contracts
COPY country country
COPY scripts/image/healthy /usr/local/bin/healthy
RUN pip install --no-index --no-deps --no-build-isolation --root-user-action=ignore -e . \
 && python -m compileall -q sandroad gateway services usecases \
 && useradd --system --uid 10001 --no-create-home sandroad \
 && printf '#!/bin/sh\nexec setpriv --reuid=10001 --regid=10001 --clear-groups "$@"\n' >/usr/local/bin/run-as-sandroad \
 && chmod 755 /usr/local/bin/run-as-sandroad
CMD ["sandroad", "--help"]
