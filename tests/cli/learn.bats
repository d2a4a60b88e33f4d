#!/usr/bin/env bats
# LEARNING in the live program: it learns where it is on, is not there where it is off, and writes what it learned.

setup_file() {
  export PATH=$HAKMEM_BIN:$PATH
  cd "$BATS_FILE_TMPDIR" || exit 1
  cat >large.c <<'END'
#include <stdlib.h>
int main(void) {
  static void *live[24];
  unsigned x = 1;
  for (int i = 0; i < 6400; i++) {
    x = x * 1664525 + 1013904223;
    unsigned k = (x >> 24) % 24;
    size_t n = ((size_t)1 << 20) + (x >> 8) % (1u << 20);
    free(live[k]);
    char *block = live[k] = malloc(n);
    for (size_t at = 0; at < n; at += 4096) block[at] = 1;
  }
  return 0;
}
END
  cc -O1 -o large large.c
}

setup() { cd "$BATS_FILE_TMPDIR" || exit 1; }

counter() { sed -n "s/^hakmem: *$1  *\([0-9][0-9]*\).*/\1/p" "$2"; } # NAME FILE: its value, empty when it is 0

@test "strategies are rated, the state goes from LEARN to FROZEN, the policy can be deployed" {
  LD_PRELOAD=$HAKMEM_LIB/libhakmem.so HAKMEM_MODE=learning HAKMEM_FEATURES=+verbose HAKMEM_STATS=1 \
    HAKMEM_POLICY_OUT=out.policy ./large 2>err
  cat err
  [ "$(counter strategy_chosen err)" -eq 6400 ]
  grep -q 'LEARN -> FROZEN' err
  hakmem-policy validate out.policy
  hakmem-policy show out.policy >shown
  cat shown
  grep -q frozen shown
  grep -Eq 'online.matches (2[4-9]|[3-9][0-9])' shown
  hakmem-run --mode=fast --policy=out.policy ./large
}

@test "contexts are sampled, blocks tracked, lifetimes written" {
  LD_PRELOAD=$HAKMEM_LIB/libhakmem.so HAKMEM_MODE=learning HAKMEM_STATS=1 HAKMEM_POLICY_OUT=jq.%p.policy \
    jq -n '[range(100000)|tostring]|length' 2>err
  cat err
  [ "$(counter context_sampled err)" -gt 100 ]
  [ "$(counter tracked_alloc err)" -gt 100 ]
  [ "$(counter tracked_free err)" -gt 10 ]
  hakmem-policy show jq.[0-9]*.policy >shown
  cat shown
  grep -Eq 'online.contexts [1-9]' shown
  grep -Eq 'online.size [0-9]+ samples [1-9]' shown
  grep -Eq 'online.threshold bigcache_bytes [0-9]+' shown
  grep -Eq 'online.site libjq.so.1[^ ]*\+0x[0-9a-f]+<[^ ]+ seen [1-9][0-9]* freed [0-9]+ short [0-9]+' shown
}

@test "what was learned is written on a signal, where the program has no handler for it; the name outlives the environment" {
  cat >signalled.c <<'END'
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
extern char **environ;
static volatile sig_atomic_t own;
static void note(int number) { own = number; }
static void work(void) { for (int i = 0; i < 600; i++) { void *volatile at = malloc(3 << 20); free(at); } }
int main(int argc, char **argv) {
  (void)argv;
  if (argc > 1) signal(SIGUSR2, note);
  for (char **at = environ; *at != NULL; at++) memset(*at, 'x', strlen(*at));
  work();
  raise(SIGUSR2);
  work();
  _exit(argc > 1 && own != SIGUSR2);
}
END
  cc -O1 -o signalled signalled.c
  export HAKMEM_MODE=learning HAKMEM_POLICY_OUT=signalled.policy HAKMEM_POLICY_SIGNAL=usr2
  LD_PRELOAD=$HAKMEM_LIB/libhakmem.so ./signalled own
  [ ! -e signalled.policy ]
  LD_PRELOAD=$HAKMEM_LIB/libhakmem.so ./signalled
  hakmem-policy validate signalled.policy
  hakmem-policy show signalled.policy | grep -Eq 'online.matches [1-9]'
  unset HAKMEM_POLICY_SIGNAL
  rm signalled.policy
  status=0
  LD_PRELOAD=$HAKMEM_LIB/libhakmem.so ./signalled || status=$?
  [ "$status" -eq 140 ] # 128 + SIGUSR2: as without us
  [ ! -e signalled.policy ]
}

@test "a policy that was learned never replaces what is no file" {
  mkfifo pipe
  LD_PRELOAD=$HAKMEM_LIB/libhakmem.so HAKMEM_MODE=learning HAKMEM_POLICY_OUT=pipe ./large 2>err
  grep -q 'HAKMEM_POLICY_OUT: not a file' err
  [ -p pipe ]
}

@test "HAKMEM_EVO_POLICY=frozen chooses, but plays no matches" {
  LD_PRELOAD=$HAKMEM_LIB/libhakmem.so HAKMEM_MODE=learning HAKMEM_EVO_POLICY=frozen HAKMEM_POLICY_OUT=f.policy ./large
  hakmem-policy show f.policy | grep -q 'online.matches 0'
}

@test "HAKMEM_EVO_POLICY=canary begins frozen and tries others; learn, in any mode that learns, begins by learning" {
  evolve() { LD_PRELOAD=$HAKMEM_LIB/libhakmem.so HAKMEM_FEATURES=+verbose HAKMEM_EVO_POLICY=$1 ./large 2>&1 | grep 'learning:'; }
  HAKMEM_MODE=learning evolve canary >said
  cat said
  [[ "$(head -n 1 said)" == *"FROZEN -> CANARY"* ]]
  HAKMEM_MODE=learning evolve learn >said
  cat said
  [[ "$(head -n 1 said)" == *"LEARN -> FROZEN"* ]]
}

@test "off means off: no other mode samples or rates" {
  for mode in minimal fast balanced; do
    LD_PRELOAD=$HAKMEM_LIB/libhakmem.so HAKMEM_MODE=$mode HAKMEM_STATS=1 HAKMEM_POLICY_OUT=off.policy ./large 2>err
    for name in strategy_chosen context_sampled context_every tracked_alloc header_written; do
      [ -z "$(counter $name err)" ]
    done
    [ ! -e off.policy ]
  done
}

@test "each feature runs where it is on, and only there" {
  run_in() { LD_PRELOAD=$HAKMEM_LIB/libhakmem.so HAKMEM_STATS=1 env "$@" ./large 2>err; }
  run_in HAKMEM_MODE=balanced
  for name in bigcache_hit large_alloc os_map; do [ "$(counter $name err)" -gt 0 ]; done
  run_in HAKMEM_MODE=balanced HAKMEM_DISABLE_BIGCACHE=1
  [ -z "$(counter bigcache_hit err)" ]
  run_in HAKMEM_MODE=minimal
  for name in bigcache_hit superslab_new purge_batch free_hot thp_on; do [ -z "$(counter $name err)" ]; done
  run_in HAKMEM_MODE=research
  [ "$(counter strategy_chosen err)" -gt 0 ]
  LD_PRELOAD=$HAKMEM_LIB/libhakmem.so HAKMEM_MODE=research jq -n '[range(1000)|tostring]|length' 2>err
  for name in context_every header_written header_checked; do [ "$(counter $name err)" -gt 0 ]; done
  run_in HAKMEM_MODE=learning HAKMEM_DISABLE_ELO=1
  [ -z "$(counter strategy_chosen err)" ]
}
