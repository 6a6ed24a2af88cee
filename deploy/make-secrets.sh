#!/bin/sh
# Makes what a broker needs in order to leave loopback: a certificate authority, a server
# certificate, and tokens. Keeps what is already there.
#
#   make-secrets.sh DIR [NAME…]     NAME: host name or IP address that clients connect to
#
# Afterwards in DIR: ca.pem (for clients), server.pem and server.key (listen.tls),
# tokens (listen.auth.tokens_file), client.token, worker.token, admin.token (one caller each).
set -eu

dir=${1:?usage: make-secrets.sh DIR [NAME...]}
shift
umask 077
mkdir -p "$dir"
cd "$dir"

if [ ! -s server.pem ]; then
    names="DNS:localhost,IP:127.0.0.1"
    for name in "$@"; do
        case $name in
            *[!0-9.]*) names="$names,DNS:$name" ;;
            *) names="$names,IP:$name" ;;
        esac
    done
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 \
        -subj "/CN=asyncflow CA" -keyout ca.key -out ca.pem 2>/dev/null
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
        -subj "/CN=asyncflow" -keyout server.key -out server.csr 2>/dev/null
    printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth\nbasicConstraints=CA:FALSE\n' \
        "$names" > server.ext
    openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 825 \
        -extfile server.ext -out server.pem 2>/dev/null
    rm -f server.csr server.ext
    chmod 644 ca.pem server.pem
fi

if [ ! -s tokens ]; then
    echo "# name:kind:token" > tokens.new
    for kind in client worker admin; do
        token=$(openssl rand -hex 24)
        echo "$kind:$kind:$token" >> tokens.new
        echo "$token" > "$kind.token"
    done
    mv tokens.new tokens
fi
echo "secrets are in $dir"
