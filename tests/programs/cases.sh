# cases.sh: what real programs are made to do. Each case_* prints only what must be equal from run to run, starts its
# programs through `under`, works in the current (empty) folder, uses no network but unix sockets in it, and exits 0 when
# the program did. Sourced by `same`.
# shellcheck disable=SC2016

python=/usr/bin/python3

case_sqlite3() {
  "$python" "$HAKMEM_PROGRAMS_INPUT/statements.py" 1 3000 >in.sql &&
    under sqlite3 file.db <in.sql && sqlite3 file.db .dump | sha256sum
}

# Sorting with helper threads; the page cache in memory.
case_sqlite3_threads() {
  under sqlite3 :memory: "pragma threads=4; pragma cache_size=50;
    create table t(a,b); with recursive c(x) as (select 1 union all select x+1 from c where x<60000)
      insert into t select x*7919%60013, hex(x*x) from c;
    create index i on t(b); select count(*), sum(a), min(b), max(b) from t; select * from t order by b desc limit 20;"
}

case_python_json() { PYTHONMALLOC=malloc under "$python" "$HAKMEM_PROGRAMS_INPUT/json_work.py" 1 400; }
case_python_pymalloc() { under "$python" "$HAKMEM_PROGRAMS_INPUT/json_work.py" 2 400; }
case_python_threads() { PYTHONMALLOC=malloc under "$python" "$HAKMEM_PROGRAMS_INPUT/threads.py"; }

# fork while threads run, exec, a pool of processes.
case_python_fork() { PYTHONMALLOC=malloc under "$python" "$HAKMEM_PROGRAMS_INPUT/fork.py"; }

case_perl() { under perl "$HAKMEM_PROGRAMS_INPUT/words.pl"; }

case_git() {
  export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1 GIT_PAGER=cat GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b \
    GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b GIT_AUTHOR_DATE='1700000000 +0000' GIT_COMMITTER_DATE='1700000000 +0000'
  under git init -q -b main repository && cd repository || return
  local i
  for i in 1 2 3 4 5 6; do
    seq $((i * 10)) $((i * 700)) >"file$i" && seq 1 3 $((i * 300)) >common && under git add . &&
      under git commit -q -m "change $i" || return
  done
  under git log -p --stat | sha256sum
  under git -c pack.threads=4 gc -q --aggressive && under git fsck --full && under git rev-parse HEAD &&
    under git grep -n --threads 4 -c 17 && under git diff --stat HEAD~3
}

case_gcc() {
  under gcc -O2 -g -S -o - "$HAKMEM_PROGRAMS_INPUT/program.c" | sha256sum && under gcc -O2 -o program "$HAKMEM_PROGRAMS_INPUT/program.c" &&
    under ./program
}

case_gxx() {
  under g++ -O1 -std=c++17 -S -o - "$HAKMEM_PROGRAMS_INPUT/program.cc" | sha256sum &&
    under g++ -O1 -std=c++17 -pthread -o program "$HAKMEM_PROGRAMS_INPUT/program.cc" && under ./program
}

case_jq() {
  "$python" "$HAKMEM_PROGRAMS_INPUT/documents.py" 3 800 >in.json &&
    under jq 'group_by(.kind) | map({kind: .[0].kind, n: length, names: [.[].name] | unique | .[:5], sum: ([.[].value] | add)})' in.json &&
    under jq -c '.[] | select(.value > 900) | [paths]' in.json | sha256sum && under jq -S . in.json | sha256sum
}

# The server is the program under test, and so are its clients; with I/O threads and a saved dump (a fork).
case_redis() {
  ln -s "$(command -v redis-check-rdb)" redis-server || return # the binary looks at its name
  under ./redis-server --port 0 --unixsocket "$PWD/socket" --save '' --appendonly no --io-threads 2 --dir "$PWD" \
    --daemonize no --logfile server.log --enable-debug-command yes &
  local server=$! i
  for i in $(seq 100); do
    redis-cli -s socket ping >/dev/null 2>&1 && break
    sleep 0.1
  done
  under redis-benchmark -s "$PWD/socket" -q -n 4000 -c 20 -P 8 --threads 2 -t set,get,lpush,lrange_100,zadd,spop >benchmark.log 2>&1 ||
    return
  {
    for i in $(seq 400); do
      echo "set key:$i $(printf 'value%0*d' $((i % 90)) "$i")"
      echo "zadd scores $i member$i"
      echo "hset hash:$((i % 7)) field$i $i"
      echo "append key:$((i % 10)) more"
      echo "lpush list $i"
      echo "del key:$((i - 30))"
    done
    echo 'save'
    echo 'zrange scores 0 20 withscores'
    echo 'hgetall hash:3'
    echo 'lrange list 0 30'
    echo 'eval "local t={} for i=1,200 do t[i]=tostring(i*i) end return table.concat(t,\",\")" 0'
    echo 'debug digest-value scores list hash:1 hash:2 key:399'
  } | under redis-cli -s socket | sha256sum
  redis-cli -s socket dbsize
  redis-cli -s socket shutdown nosave
  wait "$server"
}

case_node() { under node "$HAKMEM_PROGRAMS_INPUT/work.js"; }

case_bash() {
  under bash -c 'declare -A m; for i in {1..3000}; do m[k$i]=$((i*i%977)); done
    for k in "${!m[@]}"; do echo "$k ${m[$k]}"; done | sort | md5sum; x=$(seq 2000 | tr "\n" ,); echo "${x//1/one}" | md5sum'
}

case_sort() { seq 200000 | rev | under sort --parallel=4 -S 2M -T . | sha256sum; }
case_awk() { seq 60000 | under awk '{n[$1%977]=n[$1%977] "," $1} END {for (i=0;i<977;i++) print i, length(n[i])}' | sha256sum; }
case_xz() { seq 150000 | under xz -T2 --block-size=200KiB -c >data.xz && under xz -dc data.xz | sha256sum; }
case_find_tar() { under tar -C "$HAKMEM_PROGRAMS_INPUT" --sort=name --mtime=@0 --owner=0 --group=0 -cf - . | sha256sum && under find "$HAKMEM_PROGRAMS_INPUT" -type f | sort; }
