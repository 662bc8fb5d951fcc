#!/bin/busybox sh
# First process of the guest: mounts the image the way a provider's guest does, runs one command
# in it, reports on the first serial port and powers off. /job.sh, which boot_gvmi.py generates,
# defines mount_volumes and work_dir; /launch.sh runs the command inside the image.

image=/image
merged=/merged

finish() {
    sync
    # stty waits until the port has sent what was written, which powering off would lose.
    [ -e /dev/ttyS1 ] && stty -F /dev/ttyS1 raw
    stty -F /dev/ttyS0 sane
    exec poweroff -f
}

die() {
    echo "golem-boot: error: $*"
    finish
}

# mkdirat + O_NOFOLLOW of every component, as the provider's guest walks to a volume.
make_directories() {
    volume=$1
    walked=$merged
    rest=${volume#/}/
    while [ -n "$rest" ]; do
        walked=$walked/${rest%%/*}
        rest=${rest#*/}
        [ -L "$walked" ] && die "volume $volume: ${walked#$merged} is a symbolic link," \
            "a provider refuses links on the way to a volume"
        [ -d "$walked" ] || mkdir "$walked" || die "volume $volume: ${walked#$merged} cannot be created"
    done
}

# Called by mount_volumes: mount_volume TAG PATH
mount_volume() {
    make_directories "$2"
    mount -t 9p -o trans=virtio,version=9p2000.L,msize=131072 "$1" "$merged$2" ||
        die "volume $2: its 9p mount failed"
}

mount_own() {
    mount -t proc proc /proc
    mount -t devtmpfs devtmpfs /dev
    for module in /modules/*; do
        insmod "$module" || die "the kernel refused its module $module"
    done
}

mount_root() {
    mkdir -p $image $merged /writable
    mount -t squashfs -o ro,nodev /dev/vda $image || die "the kernel cannot mount the squashfs"
    mount -t tmpfs -o size=128M tmpfs /writable || die "no memory for the writable layer"
    mkdir /writable/upper /writable/work
    chmod "$(stat -c %a $image)" /writable/upper
    mount -t overlay -o lowerdir=$image,upperdir=/writable/upper,workdir=/writable/work \
        overlay $merged || die "the kernel cannot mount the overlay"
}

mount_kernel_trees() {
    for needed in proc sys; do
        [ -d $image/$needed ] && [ ! -L $image/$needed ] ||
            die "the image has no directory /$needed, a provider's guest dies without it"
    done
    mount -t proc proc $merged/proc || die "/proc cannot be mounted"
    mount -t sysfs sysfs $merged/sys || die "/sys cannot be mounted"
    mkdir -p $merged/dev $merged/tmp
    mount -t devtmpfs devtmpfs $merged/dev || die "/dev cannot be mounted"
    mount -t tmpfs tmpfs $merged/tmp || die "/tmp cannot be mounted"
    mkdir -p $merged/dev/pts $merged/dev/shm
    mount -t devpts devpts $merged/dev/pts || die "/dev/pts cannot be mounted"
    mount -t tmpfs tmpfs $merged/dev/shm || die "/dev/shm cannot be mounted"
}

set_up_network_files() {
    [ -d $merged/etc ] && [ ! -L $merged/etc ] || die "the image has no directory /etc"
    for name in hosts resolv.conf; do
        [ -L $merged/etc/$name ] &&
            die "/etc/$name is a symbolic link, a provider's guest would write elsewhere"
    done
    echo "10.0.0.2 golem-guest" >>$merged/etc/hosts || die "/etc/hosts cannot be written"
    echo "nameserver 10.0.0.1" >$merged/etc/resolv.conf || die "/etc/resolv.conf cannot be written"
}

/bin/busybox mkdir -p /proc /dev
/bin/busybox --install -s /bin
export PATH=/bin
. /job.sh
mount_own
mount_root
mount_kernel_trees
mount_volumes
set_up_network_files
chroot $merged test -d "$work_dir" ||
    die "WorkingDir $work_dir is no directory in the image, every command would fail"

# Raw, or the port would turn every newline of the command into two bytes.
stty -F /dev/ttyS1 115200 raw -echo
chroot $merged sh -c "$(cat /launch.sh)" </dev/null >/dev/ttyS1 2>&1
echo "golem-boot: status $?"
finish
