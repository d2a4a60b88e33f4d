# What each feature of the allocator counts: nothing in a mode that has it off, something in one that has it on, and the
# same for every variable that switches one.
setup() {
  PATH="$HAKMEM_BIN:$PATH"
  cd "$BATS_TEST_TMPDIR"
}

work() { # VARIABLE=VALUE…: runs the work under them, counters in err
  env LD_PRELOAD="$HAKMEM_LIB/libhakmem.so" HAKMEM_STATS=1 "$@" feature_work 2>err
}
value() { sed -n "s/^hakmem: *$1  *\([0-9][0-9]*\).*/\1/p" err | grep . || echo 0; } # NAME: 0 when it is not shown
runs() { for name; do [ "$(value "$name")" -gt 0 ] || { echo "$name is 0"; cat err; return 1; }; done; }
rests() { for name; do [ "$(value "$name")" -eq 0 ] || { echo "$name is not 0"; cat err; return 1; }; done; }

pool='+pool,+lists'

@test "MINIMAL runs none of them" {
  work HAKMEM_MODE=minimal
  rests superslab_new refill_slab mid_alloc bigcache_hit bigcache_miss bigcache_kept front_taken purge_batch unit_purge \
    free_hot free_warm free_cold thp_on thp_off strategy_chosen context_sampled context_every header_written grow_placed
  runs plain_alloc plain_free large_alloc os_map os_unmap
}

@test "the ablation: each step adds its own counters and no other's" {
  work HAKMEM_MODE=minimal HAKMEM_FEATURES=$pool
  runs superslab_new refill_slab mid_alloc
  rests plain_alloc bigcache_hit bigcache_kept front_taken purge_batch free_hot free_warm free_cold thp_on thp_off
  work HAKMEM_MODE=minimal HAKMEM_FEATURES=$pool,+bigcache
  runs bigcache_hit bigcache_kept front_taken unit_purge
  rests purge_batch free_hot free_warm free_cold thp_on thp_off strategy_chosen
  work HAKMEM_MODE=minimal HAKMEM_FEATURES=$pool,+bigcache,+batch
  runs purge_batch purge_bytes
  rests free_hot free_warm free_cold thp_on thp_off strategy_chosen
  work HAKMEM_MODE=minimal HAKMEM_FEATURES=$pool,+bigcache,+batch,+thermal
  runs free_hot free_cold
  rests thp_on thp_off strategy_chosen
  work HAKMEM_MODE=minimal HAKMEM_FEATURES=$pool,+bigcache,+batch,+thermal,+thp
  runs thp_on
  rests strategy_chosen
  work HAKMEM_MODE=minimal HAKMEM_FEATURES=$pool,+bigcache,+batch,+thermal,+thp,+elo
  runs strategy_chosen
  rests front_taken # the learner sees each large block
}

@test "batched purges: on in every mode but MINIMAL, and off by a flag" {
  for mode in fast balanced learning; do
    work HAKMEM_MODE=$mode
    runs purge_batch purge_bytes
  done
  work HAKMEM_MODE=balanced HAKMEM_FEATURES=-batch
  rests purge_batch
  runs purge_bytes unit_purge
}

@test "huge pages: HAKMEM_THP=off, auto and on after the mode" {
  work HAKMEM_MODE=balanced HAKMEM_THP=off
  rests thp_on thp_off
  work HAKMEM_MODE=balanced HAKMEM_FEATURES=-thp
  rests thp_on thp_off
  work HAKMEM_MODE=balanced HAKMEM_KNOB_thp=0
  rests thp_on thp_off
  work HAKMEM_MODE=balanced HAKMEM_THP=auto
  runs thp_on thp_off
  local auto
  auto=$(value thp_on)
  work HAKMEM_MODE=minimal HAKMEM_FEATURES=$pool,+bigcache HAKMEM_THP=on
  rests thp_off
  [ "$(value thp_on)" -gt "$auto" ]
}

@test "huge pages: what small blocks lie in really becomes huge pages, from the first byte where that is asked for" {
  grep -qE '\[(always|madvise)\]' /sys/kernel/mm/transparent_hugepage/enabled || skip "the kernel has them off"
  cat >held.py <<'EOF'
import ctypes
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]
for _ in range(2500):
    ctypes.memset(libc.malloc(8192), 1, 8192)
print([line.split()[1] for line in open("/proc/self/smaps_rollup") if line.startswith("AnonHugePages")][0])
EOF
  held() { LD_PRELOAD="$HAKMEM_LIB/libhakmem.so" HAKMEM_KNOB_thp_first_bytes=$1 HAKMEM_KNOB_thp_known_bytes=$2 python3 held.py; }
  [ "$(held 1g 0)" -eq 0 ]
  all=$(held 0 0)
  auto=$(held 10m 0)
  known=$(held 1g 9m)
  echo "$all KiB from the first byte, $auto from 10 MiB on, $known of 9 MiB that are known to be wanted"
  [ "$all" -ge 16384 ] && [ "$auto" -ge 4096 ] && [ "$auto" -lt "$all" ] && [ "$known" -eq 8192 ]
}

@test "automatic huge pages need blocks that are written as a whole" {
  cat >sparse.py <<'EOF'
import ctypes
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
for _ in range(100):
    held = [libc.malloc(4 << 20) for _ in range(4)]
    for at in held:
        ctypes.memset(at, 1, 1)
        libc.free(at)
EOF
  LD_PRELOAD="$HAKMEM_LIB/libhakmem.so" HAKMEM_STATS=1 HAKMEM_KNOB_thp_first_bytes=1g python3 sparse.py 2>err
  runs large_alloc
  rests thp_on
}

@test "thermal classes: sizes asked for again are hot, those asked for once cold" {
  work HAKMEM_MODE=balanced
  runs free_hot free_cold
  [ "$(value free_hot)" -gt "$(value free_cold)" ]
  work HAKMEM_MODE=balanced HAKMEM_FEATURES=-thermal
  rests free_hot free_warm free_cold
}

@test "purge_delay_hot_ms: what hot sizes leave idle waits above the bound, within bigcache_bytes" {
  work HAKMEM_MODE=balanced
  rests purge_put_off
  local given=$(value purge_bytes)
  work HAKMEM_MODE=balanced HAKMEM_KNOB_purge_delay_hot_ms=60000
  runs purge_put_off
  echo "$(value purge_bytes) given back, $given without the delay"
  [ "$(value purge_bytes)" -lt "$given" ]
  work HAKMEM_MODE=balanced HAKMEM_KNOB_purge_delay_hot_ms=60000 HAKMEM_FEATURES=-thermal
  rests purge_put_off
  work HAKMEM_MODE=balanced HAKMEM_KNOB_purge_delay_hot_ms=60000 HAKMEM_KNOB_bigcache_bytes=1m
  rests purge_put_off
}

@test "HAKMEM_FREE_POLICY: keep keeps, batch gives everything back, adaptive lies between" {
  local -A given
  for policy in keep adaptive batch; do
    work HAKMEM_MODE=balanced HAKMEM_FREE_POLICY=$policy
    given[$policy]=$(value purge_bytes)
    echo "$policy ${given[$policy]} front $(value front_taken)"
    case $policy in batch) rests front_taken ;; *) runs front_taken ;; esac
  done
  [ "${given[keep]}" -lt "${given[adaptive]}" ]
  [ "${given[adaptive]}" -lt "${given[batch]}" ]
}

@test "the prototype's switches" {
  work HAKMEM_MODE=balanced HAKMEM_DISABLE_BIGCACHE=1
  rests bigcache_hit bigcache_miss bigcache_kept front_taken grow_placed
  [ "$(value os_unmap)" -gt 100 ]
  work HAKMEM_MODE=balanced HAKMEM_DISABLE_BIGCACHE=0
  runs bigcache_hit
  work HAKMEM_MODE=balanced HAKMEM_TINY_USE_SUPERSLAB=0
  rests superslab_new refill_slab
  runs plain_alloc
  work HAKMEM_MODE=minimal HAKMEM_TINY_USE_SUPERSLAB=1
  rests plain_alloc
  runs superslab_new
  work HAKMEM_MODE=learning
  runs strategy_chosen
  work HAKMEM_MODE=learning HAKMEM_DISABLE_ELO=1
  rests strategy_chosen
}

@test "only RESEARCH says that a switch is deprecated" {
  for mode in minimal fast balanced learning; do
    env LD_PRELOAD="$HAKMEM_LIB/libhakmem.so" HAKMEM_MODE=$mode HAKMEM_DISABLE_BIGCACHE=1 feature_work 2>err
    [ "$(grep -c deprecated err)" -eq 0 ]
  done
  env LD_PRELOAD="$HAKMEM_LIB/libhakmem.so" HAKMEM_MODE=research HAKMEM_DISABLE_BIGCACHE=1 HAKMEM_DISABLE_ELO=1 \
    HAKMEM_TINY_USE_SUPERSLAB=1 feature_work 2>err
  [ "$(grep -c deprecated err)" -eq 3 ]
}
