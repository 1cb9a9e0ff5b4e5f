# Stargus in a container: docker build -t stargus . && docker run --rm -p 127.0.0.1:8080:8080 -v stargus-data:/app/data \
#   -e STARGUS_HOST=0.0.0.0 -e STARGUS_AUTH=required -e STARGUS_OPERATOR_KEY stargus
#
# It runs as an ordinary user, with a root file system that may be read-only (--read-only --tmpfs /tmp). Written to are only
#   /app/data  the database file of SQLite; nothing in it with MySQL
#   /tmp       what Node has compiled, so that the next start is faster; it may be empty, small and lost
#
# STARGUS_HOST has no value here on purpose. Its default, 127.0.0.1, can't be reached from outside of the container; 0.0.0.0 opens
# Stargus to whoever reaches the port, which the operator decides together with STARGUS_AUTH.

FROM node:24-slim AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
# No install scripts: better-sqlite3 brings its binaries along, and nothing is to be compiled.
RUN npm ci --ignore-scripts --omit=optional --include=dev
COPY tsconfig.json ./
COPY src ./src
COPY migrations ./migrations
COPY scripts/bundle.mjs ./scripts/
RUN node node_modules/typescript/bin/tsc -p tsconfig.json && node scripts/bundle.mjs && rm -f dist/.tsbuildinfo

FROM node:24-slim AS modules
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
# The optional dependencies are Node itself, which this image has. Maps and types are for those who develop.
RUN npm ci --ignore-scripts --omit=dev --omit=optional \
  && find node_modules -type f \( -name '*.map' -o -name '*.d.ts' -o -name '*.d.mts' -o -name '*.d.cts' \) -delete

FROM node:24-slim
LABEL org.opencontainers.image.title="Stargus" \
      org.opencontainers.image.description="Shared, persistent, watchable state over plain HTTP/JSON and Server-Sent Events" \
      org.opencontainers.image.licenses="Apache-2.0"
WORKDIR /app
ENV NODE_ENV=production NODE_COMPILE_CACHE=/tmp/node-compile-cache
# SQLite's file is below this folder unless STARGUS_DATABASE_URL names another place. 1000 is `node`, which comes with the image.
RUN mkdir data && chown 1000:1000 data
# Of root, so that the process can't alter its own program.
COPY --from=modules /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
COPY package.json LICENSE ./
COPY openapi ./openapi
# By number: Kubernetes must be able to see that it isn't root.
USER 1000:1000
VOLUME /app/data
EXPOSE 8080
# Without a shell. On the address that Stargus listens on; where that is all of them, on loopback.
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
  CMD ["node", "-e", "const{STARGUS_HOST:h='127.0.0.1',STARGUS_PORT:p='8080'}=process.env;fetch(`http://${['0.0.0.0','::'].includes(h)?'127.0.0.1':h}:${p}/healthz`).then(r=>process.exit(r.ok?0:1),()=>process.exit(1))"]
# Not through npm: signals must reach the server itself, which ends in order on SIGTERM.
CMD ["node", "dist/server/main.js"]
