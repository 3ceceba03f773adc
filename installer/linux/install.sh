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

# remove deletes what is in the list, and folders that are empty then.
remove() {
	while IFS= read -r file; do rm -f "$prefix/$file"; done <"$list"
	rm -f "$list"
	for dir in lib/adit share/doc/adit; do rmdir "$prefix/$dir" 2>/dev/null || true; done
}

if [ "$what" = uninstall ]; then
	[ -f "$list" ] || fail "nothing is installed in $prefix" "name the --prefix of the installation"
	[ "$service" = no ] || "$prefix/lib/adit/adit" service uninstall
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
for name in adit adit-endpoint; do
	ln -sfn ../lib/adit/$name "$prefix/bin/$name"
	echo "bin/$name" >>"$new"
done
ln -sfn ../lib/adit/aditd "$prefix/sbin/aditd"
echo sbin/aditd >>"$new"
if [ -f "$list" ]; then # what the version before had, and this one has not
	while IFS= read -r file; do grep -qxF "$file" "$new" || rm -f "$prefix/$file"; done <"$list"
fi
mv -f "$new" "$list"
echo "installed Adit in $prefix"
if [ "$service" = yes ]; then
	"$prefix/lib/adit/adit" service install
fi
