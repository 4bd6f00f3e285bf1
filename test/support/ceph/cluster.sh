#!/usr/bin/env bash
# One monitor, one OSD on a sparse file and one S3 gateway of Ceph, on 127.0.0.1.
#   cluster.sh start FOLDER OWNER_PID MONITOR_PORT GATEWAY_PORT ACCESS_KEY_ID SECRET_ACCESS_KEY
#   cluster.sh gateway FOLDER      starts the gateway again
#   cluster.sh stop FOLDER         ends everything and removes the folder
# Needs the programs of the packages ceph-mon, ceph-osd and radosgw. The cluster is stopped too when its owner is gone.
set -euo pipefail
folder=$2
conf=$folder/ceph.conf

fail() { echo "$*" >&2; exit 1; }
# One that has ended and was not yet asked for its exit code does not run.
running() { case "$(ps -o stat= -p "$1")" in Z* | '') return 1 ;; esac; }
alive() { [ -s "$1" ] && running "$(cat "$1")"; }
background() { # name command...
  local name=$1; shift
  setsid "$@" >"$folder/$name.out" 2>&1 </dev/null &
  echo $! >"$folder/$name.pid"
}
dead() { # name
  tail -n 5 "$folder/$1.out" >&2
  fail "$1 of Ceph ended (its last lines are above)"
}

stop() {
  local name pid i
  for name in gateway osd monitor watch; do
    [ -s "$folder/$name.pid" ] || continue
    pid=$(cat "$folder/$name.pid")
    [ "$pid" != $$ ] || continue # the watch itself stops the cluster
    # Nothing of it is wanted any more, and a stopped process cannot end in order.
    kill -9 "$pid" 2>/dev/null || true
    for i in $(seq 100); do running "$pid" || break; sleep 0.05; done
  done
  rm -rf "$folder"
}

configure() { # monitor-port gateway-port
  cat >"$conf" <<E
[global]
fsid = $fsid
mon_host = [v2:127.0.0.1:$1]
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
public_network = 127.0.0.0/8
ms_bind_ipv6 = false
ms_bind_msgr1 = false
auth_cluster_required = cephx
auth_service_required = cephx
auth_client_required = cephx
keyring = $folder/keyring
run_dir = $folder/run
admin_socket = $folder/run/\$name.\$pid.asok
crash_dir = $folder/run
log_file = $folder/\$name.log
log_to_syslog = false
err_to_syslog = false
mon_cluster_log_file = $folder/cluster.log
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 1
osd_pool_default_pgp_num = 1
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_max_pg_per_osd = 1000
mon_data_avail_crit = 1
mon_data_avail_warn = 1
paxos_propose_interval = 0.05
paxos_min_wait = 0.01
mon_osd_initial_require_min_compat_client = luminous
[mon.a]
mon_data = $folder/monitor
[osd]
osd_data = $folder/osd
osd_objectstore = bluestore
osd_memory_target = 939524096
bluestore_block_size = 21474836480
bluestore_block_create = true
bluestore_fsck_on_mount = false
[client.gateway]
rgw_data = $folder/gateway
rgw_frontends = beast endpoint=127.0.0.1:$2
rgw_enable_apis = s3, admin
rgw_thread_pool_size = 64
rgw_enable_ops_log = false
rgw_enable_usage_log = false
rgw_run_sync_thread = false
rgw_dynamic_resharding = false
rgw_gc_obj_min_wait = 30
rgw_bucket_quota_ttl = 0
rgw_user_quota_bucket_sync_interval = 1
rgw_crypt_require_ssl = false
rgw_crypt_s3_kms_backend = testing
rgw_crypt_s3_kms_encryption_keys = labkey=$(head -c 32 /dev/zero | base64)
E
}

# One keyring for everything: `ceph-mon --mkfs` imports every key in it.
make_keys() {
  local keys=$folder/keyring
  ceph-authtool -C "$keys" -n mon. --gen-key --cap mon 'allow *'
  ceph-authtool "$keys" -n client.admin --gen-key --cap mon 'allow *' --cap osd 'allow *'
  ceph-authtool "$keys" -n client.gateway --gen-key --cap mon 'allow *' --cap osd 'allow *'
  ceph-authtool "$keys" -n osd.0 --gen-key --cap mon 'allow profile osd' --cap osd 'allow *'
}

admin() { timeout 60 radosgw-admin -c "$conf" -n client.gateway "$@"; }

# The zone's and the zone group's description, with one more storage class in it.
add_storage_class() {
  admin zonegroup placement add --rgw-zonegroup default --placement-id default-placement --storage-class STANDARD_IA
  admin zone placement add --rgw-zone default --placement-id default-placement --storage-class STANDARD_IA \
    --data-pool default.rgw.buckets.cold
}

start_gateway() {
  background gateway radosgw -c "$conf" -n client.gateway -f
  local port i
  port=$(sed -n 's/.*beast endpoint=127.0.0.1://p' "$conf")
  for i in $(seq 300); do
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && return
    alive "$folder/gateway.pid" || dead gateway
    sleep 0.1
  done
  fail 'the gateway of Ceph does not listen'
}

watch_owner() { # owner-pid
  # shellcheck disable=SC2016
  background watch bash -c 'while kill -0 "$1" 2>/dev/null; do sleep 1; done; exec bash "$2" stop "$3"' \
    watch "$1" "$(realpath "$0")" "$folder"
}

start() { # owner monitor-port gateway-port key-id secret
  local i disk
  mkdir -p "$folder"/{monitor,osd,gateway,run}
  watch_owner "$1"
  fsid=$(cat /proc/sys/kernel/random/uuid)
  disk=$(cat /proc/sys/kernel/random/uuid)
  configure "$2" "$3"
  make_keys >"$folder/keys.out" 2>&1
  # Without a map that names it the monitor aborts: FAILED ceph_assert(rank == 0).
  monmaptool --create --clobber --fsid "$fsid" --addv a "[v2:127.0.0.1:$2]" "$folder/monmap" >"$folder/monmap.out" 2>&1
  ceph-mon -c "$conf" -i a --mkfs --fsid "$fsid" --monmap "$folder/monmap" --keyring "$folder/keyring" \
    >"$folder/monitor.out" 2>&1 || dead monitor
  background monitor ceph-mon -c "$conf" -i a -f
  # Making the OSD's disk needs no monitor.
  ceph-osd -c "$conf" -i 0 --mkfs --osd-uuid "$disk" >"$folder/osd.out" 2>&1 || dead osd
  for i in $(seq 60); do
    timeout 10 ceph -c "$conf" osd new "$disk" >"$folder/osd-new.out" 2>&1 && break
    alive "$folder/monitor.pid" || dead monitor
    sleep 0.2
  done
  background osd ceph-osd -c "$conf" -i 0 -f
  # Waits until the OSD serves: its pools are made here.
  admin user create --uid=main --display-name=main --access-key="$4" --secret-key="$5" >"$folder/admin.out" 2>&1 || {
    alive "$folder/osd.pid" || dead osd
    dead admin
  }
  add_storage_class >>"$folder/admin.out" 2>&1
  start_gateway
}

case "$1" in
  start) shift 2; start "$@" ;;
  gateway) start_gateway ;;
  stop) stop ;;
  *) fail 'start, gateway or stop' ;;
esac
