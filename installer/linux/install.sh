#!/bin/sh
# Installs Adit from this directory: ./install.sh [--prefix DIR] [--no-service] [--uninstall]
# --uninstall takes away what an earlier run has installed; profiles and settings stay in /var/lib/adit.
set -eu

prefix=/usr/local
service=yes
what=install
fail() { echo "install.sh: $1" >&2; echo "hint: $2" >&2; exit "${3-1}"; }
while [ $# -gt 0 ]; do
	case "$1" in
	--prefix) [ $# -gt 1 ] || fail "--prefix needs a directory" "write --prefix /opt/adit" 2; prefix=$2; shift ;;
	--prefix=*) prefix=${1#--prefix=} ;;
	--no-service) service=no ;;
	--uninstall) what=uninstall ;;
	-h|--help) sed -n '2,3s/^# //p' "$0"; exit 0 ;;
	*) fail "unknown argument $1" "./install.sh [--prefix DIR] [--no-service] [--uninstall]" 2 ;;
	esac
	shift
done
case "$prefix" in /*) ;; *) fail "--prefix $prefix is not an absolute path" "write --prefix /opt/adit" 2 ;; esac
[ "$(id -u)" = 0 ] || [ "$service" = no ] || fail "needs root, to install the service" "run it with sudo, or with --no-service --prefix \$HOME/.local"
list=$prefix/lib/adit/installed

# ours says that the name is free or a link of ours, not another program's.
ours() {
	case "$(readlink "$prefix/$1")" in ../lib/adit/*) return 0 ;; esac
	[ ! -e "$prefix/$1" ] && [ ! -L "$prefix/$1" ]
}

# link makes the name $1 for the program $2.
link() {
	if ours "$1"; then
		ln -sfn "../lib/adit/$2" "$prefix/$1"
		echo "$1" >>"$new"
	else
		echo "install.sh: $prefix/$1 is another program's, and stays as it is; Adit's is $prefix/lib/adit/$2" >&2
	fi
}

# delete deletes a file of the list.
delete() {
	case "$1" in bin/*|sbin/*) ours "$1" || return 0 ;; esac
	rm -f "$prefix/$1"
}

# remove deletes what is in the list, and folders that are empty then.
remove() {
	while IFS= read -r file; do delete "$file"; done <"$list"
	rm -f "$list"
	for dir in lib/adit share/doc/adit; do rmdir "$prefix/$dir" 2>/dev/null || true; done
}

if [ "$what" = uninstall ]; then
	[ -f "$list" ] || fail "nothing is installed in $prefix" "name the --prefix of the installation"
	if [ "$service" = yes ] && [ -d /run/systemd/system ]; then
		said=$("$prefix/lib/adit/adit" service status)
		at=$(cd "$prefix/lib/adit" && pwd -P)
		case "$said" in # a service of other programs goes on
		*"  program  $at/aditd"*) "$prefix/lib/adit/adit" service uninstall ;;
		esac
	elif [ "$service" = yes ]; then
		"$prefix/lib/adit/aditd" cleanup >/dev/null || true # what a crashed one has left, while the program for that is there
	fi
	remove
	echo "removed Adit from $prefix; profiles and settings stay in /var/lib/adit"
	exit 0
fi

from=$(cd "$(dirname "$0")" && pwd)
umask 022
mkdir -p "$prefix/lib/adit" "$prefix/bin" "$prefix/sbin"
new=$list.new
: >"$new"
(cd "$from" && find lib share -type f | sort) | while IFS= read -r file; do
	mkdir -p "$prefix/$(dirname "$file")"
	cp "$from/$file" "$prefix/$file.new" # a program that runs cannot be written to, but replaced
	mv -f "$prefix/$file.new" "$prefix/$file"
	echo "$file" >>"$new"
done
link bin/adit adit
link bin/adit-endpoint adit-endpoint
link sbin/aditd aditd
if [ -f "$list" ]; then # what the version before had, and this one has not
	while IFS= read -r file; do grep -qxF "$file" "$new" || delete "$file"; done <"$list"
fi
mv -f "$new" "$list"
echo "installed Adit in $prefix"
if [ "$service" = yes ]; then
	"$prefix/lib/adit/adit" service install
fi
