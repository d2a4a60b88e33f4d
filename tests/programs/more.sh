# shellcheck shell=bash
# more.sh: further programs, for scripts/programs; the rules of cases.sh. Not part of the tests: they take hundreds of
# megabytes to install and minutes to run.
# shellcheck disable=SC2016

python=/usr/bin/python3

case_ghostscript() {
  cat >page.ps <<'END'
%!PS
/Times-Roman findfont 11 scalefont setfont
0 1 30 { /page exch def 40 20 780 { /y exch def 40 y moveto page 7 mul y add 12 string cvs show
  0 10 200 { dup y 3 mod 1 add div 0 setrgbcolor 200 add y 8 6 rectfill } for } for showpage } for
END
  under gs -q -dNOSAFER -dNOPAUSE -dBATCH -sDEVICE=ppmraw -r40 -o - page.ps | sha256sum
}

case_z3() {
  {
    echo '(set-logic QF_LIA)'
    for i in $(seq 60); do echo "(declare-const x$i Int)(assert (and (> x$i $((i % 7))) (< x$i $((40 + i)))))"; done
    for i in $(seq 2 60); do echo "(assert (> (+ x$i x$((i - 1))) $((i * 37 % 61))))(assert (not (= x$i x$((i * 13 % 60 + 1)))))"; done
    echo '(check-sat)'
  } >in.smt2
  under z3 -smt2 in.smt2
}

case_php() { under php -n -r 'mt_srand(5); $a=[]; for($i=0;$i<200000;$i++){$a["k".($i*7919%50021)][]=$i;} ksort($a); $s=""; foreach($a as $k=>$v)$s.=$k.count($v); echo md5($s),"\n"; echo md5(json_encode($a)),"\n"; preg_match_all("/k(\d+)3/",$s,$m); echo count($m[0]),"\n";'; }
case_ruby() { under ruby --disable-gems -e 'h=Hash.new{|x,k|x[k]=[]}; 200000.times{|i| h["k#{i*7919%50021}"]<<i.to_s}; puts h.size, h.values.map(&:size).sum, h.keys.sort.join.hash.class; puts h.keys.sort.join.sum; t=4.times.map{|n| Thread.new{(1..20000).map{|i|(i*n).to_s}.join.size}}; puts t.map(&:value).inspect'; }
case_lua() { under lua5.4 -e 'local t={} for i=1,300000 do local k="k"..(i*7919%50021) t[k]=(t[k] or "")..i%10 end local n=0 local ks={} for k in pairs(t) do ks[#ks+1]=k end table.sort(ks) for i=1,#ks do n=(n*31+#t[ks[i]])%1000003 end print(#ks,n,collectgarbage("count")>0)'; }
case_tcl() { echo 'for {set i 0} {$i<100000} {incr i} {lappend a([expr {$i*7919%5003}]) $i}; set s 0; foreach k [lsort -integer [array names a]] {set s [expr {($s*31+[llength $a($k)])%1000003}]}; puts $s; puts [string length [join [array get a]]]' >in.tcl && under tclsh in.tcl; }
case_guile() { under guile --no-auto-compile -c '(define h (make-hash-table)) (do ((i 0 (+ i 1))) ((= i 100000)) (hash-set! h (modulo (* i 7919) 5003) (cons i (hash-ref h (modulo (* i 7919) 5003) (list))))) (display (hash-fold (lambda (k v s) (+ s (length v))) 0 h)) (newline)'; }
case_gawk() { seq 200000 | under gawk '{n[$1%9773]=n[$1%9773] "," $1} END {for (i=0;i<9773;i++) print i, length(n[i])}' | sha256sum; }
case_vim() { seq 3000 >text && under vim -u NONE -i NONE -n -es -c '%s/\(\d\)\(\d\)/\2\1/g' -c 'sort n' -c 'g/7/normal! Ax' -c 'wq' text </dev/null && sha256sum text; }
case_openssl() { seq 100000 | under openssl dgst -sha256 && seq 100000 >plain && under openssl enc -aes-256-cbc -K 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff -iv 00112233445566778899aabbccddeeff -in plain -out sealed && sha256sum sealed && under openssl enc -d -aes-256-cbc -K 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff -iv 00112233445566778899aabbccddeeff -in sealed | sha256sum && under openssl genrsa -out key 2048 2>/dev/null && under openssl rsa -in key -check -noout; }
case_curl() { seq 300000 >data && under curl -s "file://$PWD/data" | sha256sum && under curl -s "file://$PWD/data" "file://$PWD/data" -o one -o two && cmp one two; }

case_cmake_ninja() {
  mkdir source && cd source || return
  local i
  echo 'cmake_minimum_required(VERSION 3.20)
project(many C)' >CMakeLists.txt
  for i in $(seq 40); do
    echo "int f$i(int x) { return x * $i; }" >"f$i.c"
    echo "add_library(f$i STATIC f$i.c)" >>CMakeLists.txt
  done
  echo 'int f7(int x); int main(void) { return f7(6) - 42; }' >main.c
  printf 'add_executable(main main.c)\ntarget_link_libraries(main f7)\n' >>CMakeLists.txt
  under cmake -G Ninja -B ../build >/dev/null && under ninja -C ../build -j3 >/dev/null && ../build/main && under ninja -C ../build -t commands | wc -l
}

case_clang() { under clang -O2 -S -o - "$HAKMEM_PROGRAMS_INPUT/program.c" | sha256sum && under clang++ -O1 -std=c++17 -S -o - "$HAKMEM_PROGRAMS_INPUT/program.cc" | sha256sum; }
case_go() {
  printf 'package main\nimport "fmt"\nfunc main() { m := map[int][]int{}; for i := 0; i < 100000; i++ { m[i%%977] = append(m[i%%977], i) }; fmt.Println(len(m), len(m[5])) }\n' >main.go
  GOCACHE=$PWD/cache GOFLAGS=-mod=mod GO111MODULE=off under go run main.go
}
case_java() {
  printf 'import java.util.*; public class Main { public static void main(String[] a) throws Exception { Map<String,List<Integer>> m=new TreeMap<>(); for (int i=0;i<200000;i++) m.computeIfAbsent("k"+i*7919%%5003,k->new ArrayList<>()).add(i); System.out.println(m.size()+" "+m.hashCode()); Thread[] t=new Thread[8]; for (int i=0;i<8;i++) { t[i]=new Thread(()->{ StringBuilder b=new StringBuilder(); for (int k=0;k<100000;k++) b.append(k); }); t[i].start(); } for (Thread x:t) x.join(); System.out.println("done"); } }\n' >Main.java
  under javac Main.java && under java -Xmx200m Main
}

case_memcached() {
  under memcached -u root -s "$PWD/socket" -m 32 -t 4 -P "$PWD/pid" &
  local server=$! i
  for i in $(seq 100); do [ -S socket ] && break; sleep 0.1; done
  "$python" - <<'END'
import hashlib, socket
s = socket.socket(socket.AF_UNIX); s.connect("socket"); f = s.makefile("rb")
digest = hashlib.sha256()
for i in range(20000):
    value = (b"v%d" % i) * (i % 90 + 1)
    s.sendall(b"set k%d 0 0 %d\r\n%s\r\n" % (i % 700, len(value), value)); digest.update(f.readline())
    s.sendall(b"get k%d\r\n" % (i * 7 % 700))
    while True:
        line = f.readline()
        digest.update(line)
        if line == b"END\r\n": break
print(digest.hexdigest())
END
  local status=$?
  kill "$(cat pid)" && wait "$server"
  return $status
}

# Servers refuse to run as root; where we are root they run as nobody, in a folder of nobody's.
case_postgres() {
  local bin
  bin=$(ls -d /usr/lib/postgresql/*/bin | tail -n 1) && mkdir data && chmod 711 .. . && chown nobody data || return
  local as=(setpriv --reuid=nobody --regid=nogroup --clear-groups)
  "${as[@]}" "$bin/initdb" -D data -A trust >/dev/null 2>&1 || return
  under "${as[@]}" "$bin/postgres" -D data -c listen_addresses= -c unix_socket_directories="$PWD/data" -c max_parallel_workers=4 >server.log 2>&1 &
  local server=$! i
  for i in $(seq 100); do "$bin/pg_isready" -q -h "$PWD/data" -U nobody && break; sleep 0.2; done
  under "$bin/psql" -h "$PWD/data" -U nobody -d postgres -At -c 'create table t as select i, md5(i::text) h from generate_series(1,100000) i' \
    -c 'create index on t(h)' -c "select count(*), min(h), max(h) from t where h like 'a%'" -c 'select sum(length(string_agg)) from (select string_agg(h, chr(44) order by h) from t group by i%97) s' \
    -c 'select count(*) from t a join t b on a.h=b.h' -c 'vacuum analyze t' -c "select string_agg(h,'' order by i)::text ~ 'abc' from t where i<2000"
  local status=$?
  kill -INT "$(head -n 1 data/postmaster.pid)" && wait "$server"
  return $status
}

case_ffmpeg() { under ffmpeg -v error -nostdin -f lavfi -i testsrc=d=2:s=160x120:r=10 -threads 3 -c:v mpeg4 -bitexact -f avi out.avi && sha256sum out.avi && under ffmpeg -v error -nostdin -i out.avi -f framemd5 - | tail -n 3; }
case_imagemagick() { under convert -size 300x200 plasma:red-blue -seed 5 -blur 0x2 -resize 150% -depth 8 rgb:- | wc -c && under convert -size 100x100 gradient:red-blue -rotate 30 -swirl 90 -depth 8 rgb:- | sha256sum; }
case_graphviz() { { echo 'digraph g {'; for i in $(seq 150); do echo "n$i -> n$((i * 7 % 150)); n$i -> n$((i / 2));"; done; echo '}'; } >in.dot && under dot -Tsvg in.dot | sha256sum; }
case_gnuplot() { under gnuplot -e 'set term dumb 120 40; plot [0:10] sin(x)*x, cos(x**2), log(x+1)'; }
case_octave() { under octave-cli --no-init-file --quiet --eval 'a=reshape(mod((1:10000)*7919,1009),100,100); disp(sum(sum(inv(a+eye(100)*5000)))>0); s=sprintf("%d,",a); disp(length(s)); c=num2cell(a); disp(size(c));'; }
case_r() { under R --vanilla --slave -e 'x<-(1:200000*7919)%%50021; l<-split(seq_along(x),x%%997); cat(length(l),sum(sapply(l,length)),sum(sort(x)[1:100]),"\n"); m<-matrix(x[1:40000],200); cat(dim(m%*%t(m)),"\n")'; }
case_nasm() { for i in $(seq 5000); do echo "l$i: mov eax, $i"; echo "jmp l$((i * 7 % 5000 + 1))"; done >in.asm && under nasm -f elf64 in.asm -o out.o && sha256sum out.o; }
case_chromium() { echo '<html><body><ul></ul><script>for (let i=0;i<2000;i++) { let e=document.createElement("li"); e.textContent="item "+i*i%977; document.querySelector("ul").append(e); } document.title="made"</script></body></html>' >page.html && under chromium --headless --no-sandbox --disable-gpu --user-data-dir="$PWD/profile" --dump-dom "file://$PWD/page.html" 2>/dev/null | sha256sum; }
case_sbcl() { under sbcl --noinform --non-interactive --eval '(let ((h (make-hash-table :test (quote equal)))) (dotimes (i 200000) (push i (gethash (format nil "k~a" (mod (* i 7919) 5003)) h))) (print (hash-table-count h)) (terpri))'; }
case_erlang() { under erl -noshell -eval 'L=lists:seq(1,200000), M=lists:foldl(fun(I,A)->maps:update_with(I rem 977,fun(X)->[I|X] end,[I],A) end,#{},L), Ps=[spawn_monitor(fun()->lists:sum(lists:seq(1,10000)) end)||_<-lists:seq(1,500)], [receive {_,R,_,_,_}->ok end||{_,R}<-Ps], io:format("~p~n",[maps:size(M)]), halt().'; }
case_emacs() { under emacs -Q --batch --eval '(let ((h (make-hash-table :test (quote equal)))) (dotimes (i 100000) (puthash (format "k%d" (mod (* i 7919) 5003)) (make-string 20 ?a) h)) (princ (hash-table-count h)) (terpri))'; }
case_prolog() { under swipl -q -g 'numlist(1,100000,L),foldl([X,A,B]>>(B is A+X),L,0,S),writeln(S),halt'; }
case_rust() {
  printf 'use std::collections::HashMap; fn main() { let mut m: HashMap<String, Vec<u32>> = HashMap::new(); for i in 0..100000u32 { m.entry(format!("k{}", i * 7919 %% 5003)).or_default().push(i); } let t: Vec<_> = (0..4).map(|n| std::thread::spawn(move || (0..20000u32).map(|i| (i * n).to_string().len()).sum::<usize>())).collect(); println!("{} {:?}", m.len(), t.into_iter().map(|h| h.join().unwrap()).collect::<Vec<_>>()); }\n' >main.rs
  under /usr/bin/rustc -O -o main main.rs && under ./main
}

case_node_workers() {
  cat >work.js <<'END'
const { Worker, isMainThread, parentPort, workerData } = require('worker_threads');
const zlib = require('zlib'), crypto = require('crypto');
if (isMainThread) {
  let left = 6, out = [];
  for (let i = 0; i < 6; i++) {
    const w = new Worker(__filename, { workerData: i });
    w.on('message', m => out.push(m));
    w.on('exit', () => { if (--left == 0) console.log(out.sort().join('\n')); });
  }
  const endless = new Worker('while (true) {}', { eval: true });
  setTimeout(() => endless.terminate(), 200);
} else {
  const b = Buffer.alloc(300000);
  for (let i = 0; i < b.length; i++) b[i] = (i * 31 + workerData * 7) % 251;
  const whole = zlib.inflateSync(zlib.deflateSync(b)).equals(b);
  zlib.gzip(b, () => crypto.pbkdf2('x', 'y' + workerData, 1000, 32, 'sha256',
    (e, key) => parentPort.postMessage(workerData + key.toString('hex') + whole)));
}
END
  under node work.js
}

case_go_c() {
  cat >main.go <<'END'
package main

/*
#include <stdlib.h>
#include <string.h>
static char *make(int n) { char *p = malloc(n + 1); memset(p, 'a' + n % 26, n); p[n] = 0; return p; }
*/
import "C"
import ("fmt"; "sync"; "unsafe")

func main() {
	var wg sync.WaitGroup
	var mu sync.Mutex
	total := 0
	for g := 0; g < 16; g++ {
		wg.Add(1)
		go func(g int) {
			defer wg.Done()
			sum := 0
			for i := 0; i < 3000; i++ { p := C.make(C.int((i * g) % 700)); sum += len(C.GoString(p)); C.free(unsafe.Pointer(p)) }
			mu.Lock(); total += sum; mu.Unlock()
		}(g)
	}
	wg.Wait()
	fmt.Println(total)
}
END
  GOCACHE=$PWD/../gocache GO111MODULE=off go build -o prog main.go && under ./prog && rm -rf "$PWD/../gocache"
}

# A master that forks workers, reads its configuration anew, and ends when the last request is served.
case_nginx() {
  mkdir root && seq 20000 >root/a.txt && cat >conf <<END
worker_processes 2; daemon off; pid $PWD/pid; error_log $PWD/error.log;
events { worker_connections 64; }
http { access_log off; gzip on; gzip_types text/plain; client_body_temp_path $PWD/b; proxy_temp_path $PWD/p;
  fastcgi_temp_path $PWD/f; uwsgi_temp_path $PWD/u; scgi_temp_path $PWD/s; server { listen unix:$PWD/socket; root $PWD/root; } }
END
  chmod 711 ..
  under nginx -p "$PWD" -c "$PWD/conf" 2>/dev/null &
  local server=$! i
  for i in $(seq 100); do [ -S socket ] && break; sleep 0.1; done
  for i in $(seq 60); do curl -s --unix-socket socket --compressed http://x/a.txt http://x/none; done | sha256sum
  kill -HUP "$(cat pid)" && sleep 1
  for i in $(seq 30); do curl -s --unix-socket socket --compressed http://x/a.txt; done | sha256sum
  kill -QUIT "$(cat pid)" && wait "$server"
}

# The server's process before the login has sealed itself: a system call more, and the kernel kills it.
case_sshd() {
  ssh-keygen -q -t ed25519 -N '' -f host && ssh-keygen -q -t ed25519 -N '' -f user && cp user.pub known && mkdir -p /run/sshd || return
  printf '%s\n' "HostKey $PWD/host" "AuthorizedKeysFile $PWD/known" 'StrictModes no' 'UsePAM no' "PidFile $PWD/pid" >conf
  local i
  for i in 1 2 3 4 5; do
    under ssh -F /dev/null -o ProxyCommand="/usr/sbin/sshd -i -f $PWD/conf" -o StrictHostKeyChecking=no -o LogLevel=QUIET \
      -o UserKnownHostsFile=/dev/null -i user "$(id -un)@x" "seq $i" || return
  done
  rm host* user*
}

case_bwrap() { under bwrap --ro-bind / / --dev /dev --proc /proc --unshare-all sh -c 'seq 1000 | md5sum; echo /proc/[0-9]* | wc -w'; }
case_python_pools() {
  cat >pools.py <<'END'
import multiprocessing
def work(x): return sum(i * x % 97 for i in range(20000))
if __name__ == "__main__":
    for method in ("fork", "spawn", "forkserver"):
        with multiprocessing.get_context(method).Pool(3) as pool: print(method, sum(pool.map(work, range(20))))
END
  PYTHONMALLOC=malloc under "$python" pools.py
}
case_python_signals() {
  cat >signals.py <<'END'
import signal, time
seen = 0
def handler(*_):
    global seen
    seen += 1
    return [bytearray(1000) for _ in range(50)]
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, .0005, .0005)
start, kept = time.time(), []
while time.time() - start < 1: kept = (kept + [bytearray(len(kept) * 7 % 5000)])[-500:]
signal.setitimer(signal.ITIMER_REAL, 0)
print(seen > 50, len(kept))
END
  PYTHONMALLOC=malloc under "$python" signals.py
}
case_perl_threads() { under perl -Mthreads -e 'my @t = map { my $n = $_; threads->create(sub { my %h; $h{$_ % 997} .= $_ * $n for 1 .. 20000; scalar keys %h }) } 1 .. 5; print $_->join, "\n" for @t; my $p = fork; if (!$p) { exit 3 } waitpid $p, 0; print $? >> 8, "\n"'; }
case_openmp() {
  printf '#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\nint main(void) { long sum = 0;\n#pragma omp parallel for reduction(+ : sum) num_threads(8)\nfor (int i = 0; i < 100000; i++) { size_t n = i %% 3000 + 1; char *p = malloc(n); memset(p, i, n); sum += p[i %% n]; free(p); }\nprintf("%%ld\\n", sum); }\n' >a.c
  gcc -O1 -fopenmp -fno-builtin -o a a.c && under ./a
}
