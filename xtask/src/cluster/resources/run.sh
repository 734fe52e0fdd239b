# Runs "$@" with the cluster's name server, in a mount namespace that nobody else sees. $0 is a resolv.conf.
mount --bind "$0" "$(realpath /etc/resolv.conf)" && exec "$@"
