#!/bin/sh
# Makes ../local.bin from Debian packages, on one core in some minutes. The same packages give the same bytes on the
# same kind of processor. Needs a Debian or Ubuntu machine with apt-get and Go; works in a folder of its own, installs nothing.
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
doc=$(apt-cache search --names-only '^postgresql-doc-[0-9]+$' | sort -V | tail -n 1 | cut -d ' ' -f 1)
(cd "$work" && apt-get download fasttext libfasttext0 wordnet-base "$doc" && for f in *.deb; do dpkg -x "$f" root; done)
wordnet=$work/root/usr/share/wordnet
html=$work/root/usr/share/doc/$doc/html
LD_LIBRARY_PATH=$(dirname "$(find "$work/root/usr/lib" -name 'libfasttext.so*' | head -n 1)")
export LD_LIBRARY_PATH

go build -o "$work/train" .
"$work/train" corpus "$wordnet" "$html" > "$work/corpus.txt"
# One thread, or the result is another at each run. Subwords are made by "pack": training them takes three times as long
# and gains nothing once relations are fitted.
"$work/root/usr/bin/fasttext" skipgram -input "$work/corpus.txt" -output "$work/words" \
	-dim 96 -maxn 0 -minCount 3 -epoch 3 -lr 0.08 -ws 6 -t 0.0005 -thread 1 -seed 1
"$work/train" pack "$wordnet" "$work/corpus.txt" "$work/words.vec" ../local.bin
