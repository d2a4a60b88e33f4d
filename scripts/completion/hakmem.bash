# Completion of the hakmem commands for bash; installed under the name of each. Options come from the command's own
# --help, so this file cannot fall behind it.

_hakmem_values() { # OPTION: the words that may follow it
  case "$1" in
    --mode) echo minimal fast balanced learning research all ;;
    --target) echo null glibc mimalloc jemalloc tcmalloc hakmem:minimal hakmem:fast hakmem:balanced hakmem:learning \
      hakmem:research ;;
    --touch) echo none pages use whole ;;
    --order) echo window edges strict ;;
    --objective) echo time rss balanced ;;
    --sort) echo peak calls bytes live temporary lifetime fragmentation copied cross-thread ;;
    --at) echo peak ;;
    --filter) echo function: module: thread: ;;
    --export) echo pprof: heaptrack: folded: speedscope: dhat: callgrind: massif: ;;
    --color) echo auto always never ;;
  esac
}

_hakmem() {
  local command=$1 current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} option="" word i
  COMPREPLY=()
  # bash splits --mode=fa into three words at the '='.
  if [ "$current" = "=" ]; then
    option=$previous current=""
  elif [ "$previous" = "=" ] && [ "$COMP_CWORD" -ge 2 ]; then
    option=${COMP_WORDS[COMP_CWORD - 2]}
  fi
  case "${command##*/} ${option:-$previous}" in
    "hakmem-report --export") ;; # FORMAT:FILE
    *" --policy" | *" --export" | *" --holdout" | *" --html" | *" --symbolize" | *" --anonymize" | \
      *" --suppressions" | *" -o" | *" --output")
      compopt -o filenames
      mapfile -t COMPREPLY < <(compgen -f -- "$current")
      return ;;
  esac
  if [ -n "$option" ]; then
    mapfile -t COMPREPLY < <(compgen -W "$(_hakmem_values "$option")" -- "$current")
    return
  fi
  # Behind the first word that is no option (or behind --) stands the program to run.
  case "${command##*/}" in
    hakmem-trace | hakmem-run)
      for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        case "$word" in
          -o) i=$((i + 1)) ;;
          -- | [!-=]*)
            [ "${COMP_WORDS[i - 1]}" = "=" ] && continue
            [ "$word" = "--" ] && i=$((i + 1))
            if declare -F _command_offset >/dev/null; then
              _command_offset "$i"
            else
              compopt -o filenames
              mapfile -t COMPREPLY < <(compgen -f -- "$current")
            fi
            return ;;
        esac
      done ;;
  esac
  case "$current" in
    -*)
      compopt -o nospace
      mapfile -t COMPREPLY < <(compgen -W "$("$command" --help 2>/dev/null | grep -oE '(^|[ ,[])--[a-z][a-z-]*=?' |
        tr -d ' ,[' | sort -u)" -- "$current")
      [ ${#COMPREPLY[@]} != 1 ] || [ "${COMPREPLY[0]%=}" != "${COMPREPLY[0]}" ] || COMPREPLY[0]="${COMPREPLY[0]} " ;;
    *)
      if [ "${command##*/}" = hakmem-policy ] && [ "$COMP_CWORD" = 1 ]; then
        mapfile -t COMPREPLY < <(compgen -W "$("$command" --help 2>/dev/null |
          sed -n '/^Verbs:/,/^$/s/^  \([a-z]\{1,\}\) .*/\1/p')" -- "$current")
      elif [ "${command##*/}" = hakmem-run ] || [ "${command##*/}" = hakmem-trace ]; then
        mapfile -t COMPREPLY < <(compgen -c -- "$current")
      else
        compopt -o filenames
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
      fi ;;
  esac
}

complete -F _hakmem hakmem-trace hakmem-run hakmem-report hakmem-replay hakmem-policy
