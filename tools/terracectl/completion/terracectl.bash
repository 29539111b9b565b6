# SPDX-License-Identifier: BSD-2-Clause
# bash completion for terracectl(8) and cachectl(8). The program itself says what can follow.

_terracectl()
{
	local cur words cword IFS=$'\n'

	# Names of targets have colons, at which readline would split words.
	if declare -F _get_comp_words_by_ref >/dev/null; then
		_get_comp_words_by_ref -n : cur words cword
	else
		cur=${COMP_WORDS[COMP_CWORD]} cword=$COMP_CWORD
		words=("${COMP_WORDS[@]}")
	fi
	COMPREPLY=($("${words[0]}" complete -- "${words[@]:1:cword}" 2>/dev/null))
	case ${words[cword - 1]} in
	--control | --config | --root | --secret-file | --mutual-secret-file)
		COMPREPLY=($(compgen -f -- "$cur"))
		;;
	esac
	case $cur in
	file:* | block:*)
		COMPREPLY=($(compgen -P "${cur%%:*}:" -f -- "${cur#*:}"))
		;;
	esac
	[[ ${COMPREPLY[*]} == *: ]] && compopt -o nospace
	if declare -F __ltrim_colon_completions >/dev/null; then
		__ltrim_colon_completions "$cur"
	fi
}

complete -F _terracectl terracectl cachectl
