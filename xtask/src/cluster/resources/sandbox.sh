# The first process of the node's namespaces: it prepares them, then waits until its starter closes standard input.
# When it ends, the kernel ends everything that runs in them. $1 is a folder for what belongs to the node.
set -eu
mount --make-rshared /
# What the node's programs keep in places of their own stays out of the machine's.
mount -t tmpfs tmpfs /run
for dir in /var/lib /var/log; do
    overlay=$1/overlay$dir
    mkdir -p "$overlay/upper" "$overlay/work"
    mount -t overlay -o "lowerdir=$dir,upperdir=$overlay/upper,workdir=$overlay/work" overlay "$dir"
done
# The kubelet wants these for the whole machine. Here it finds them set already, in files.
mkdir "$1/sysctl"
for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1; do
    name=${setting%=*} file=$1/sysctl/${setting##*/}
    echo "${setting#*=}" >"$file"
    mount --bind "$file" "/proc/sys/$name"
done
# A pair of interfaces linked to each other: the node has an address, and a route for services' addresses to be
# translated on, but no way out. Nothing in here can send a packet off the machine.
ip link set lo up
ip link add node0 type veth peer name node0-peer
ip link set node0 up
ip link set node0-peer up
ip address add @NODE_IP@/24 dev node0
ip route add default dev node0
[ -e /proc/sys/net/bridge ] || modprobe br_netfilter
echo 1 >/proc/sys/net/ipv4/ip_forward
echo 1 >/proc/sys/net/bridge/bridge-nf-call-iptables
touch "$1/sandbox.ready"
# Not `read`: while the shell waits for a program it also collects the pods' orphans, as a first process must.
cat
