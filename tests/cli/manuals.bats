# The three places that tell about a command say the same: --help, its manual page, completion.

bats_require_minimum_version 1.5.0

commands="trace run report replay policy"

options() { # COMMAND: long options that its --help names
    "$HAKMEM_BIN/hakmem-$1" --help | grep -oE '(^|[ ,[])--[a-z][a-z-]*' | tr -d ' ,[' | sort -u
}

verbs() {
    "$HAKMEM_BIN/hakmem-policy" --help | sed -n '/^Verbs:/,/^$/s/^  \([a-z]\{1,\}\) .*/\1/p'
}

complete_words() { # WORD...: what bash would offer for the last word
    bash -c 'PATH=$HAKMEM_BIN:$PATH
        source "$HAKMEM_SOURCE/scripts/completion/hakmem.bash"
        compopt() { :; }
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
        _hakmem "$1"
        printf "%s\n" "${COMPREPLY[@]}"' bash "$@"
}

@test "every option of --help is in the manual page" {
    local missing=""
    for command in $commands; do
        page=$(sed 's/\\-/-/g' "$HAKMEM_SOURCE/cli/hakmem-$command.1")
        found=$(options "$command")
        [ "$(wc -l <<< "$found")" -ge 2 ]
        for option in $found; do
            grep -qE -- "$option([^a-z-]|\$)" <<< "$page" || missing+=" hakmem-$command.1: $option"
        done
    done
    page=$(cat "$HAKMEM_SOURCE/cli/hakmem-policy.1")
    for verb in $(verbs); do
        grep -qE "^\.(B|BR|BI|RB|SS|TP|IP).*\b$verb\b|^\.B.*$verb" <<< "$page" || missing+=" hakmem-policy.1: $verb"
    done
    echo "missing:$missing"
    [ -z "$missing" ]
}

@test "every manual page has examples, and so does --help, first" {
    for command in $commands; do
        grep -q '^\.SH EXAMPLES' "$HAKMEM_SOURCE/cli/hakmem-$command.1"
        [ "$("$HAKMEM_BIN/hakmem-$command" --help | head -n 1)" = "Examples:" ]
    done
}

@test "completion offers every option and verb of --help" {
    for command in $commands; do
        offered=$(complete_words "$HAKMEM_BIN/hakmem-$command" --)
        for option in $(options "$command"); do
            grep -qE -- "^$option=? *\$" <<< "$offered"
        done
    done
    [ "$(complete_words "$HAKMEM_BIN/hakmem-policy" "" | sort)" = "$(verbs | sort)" ]
    [ "$(verbs | wc -l)" -ge 8 ]
    [ "$(complete_words "$HAKMEM_BIN/hakmem-report" --sort = ca | tr -d '\n')" = calls ]
}
