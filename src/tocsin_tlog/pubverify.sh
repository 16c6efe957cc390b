#!/usr/bin/env bash
# pubverify.sh PROOF ENTRY VKEYFILE
#
# Checks, with coreutils, xxd and openssl alone, that the bytes of ENTRY are logged as PROOF says:
#   1. the inclusion proof leads from SHA-256(0x00 || ENTRY) to the root of the checkpoint in PROOF     (RFC 9162 s2.1.3.2)
#   2. the checkpoint bears an Ed25519 signature by the key in VKEYFILE                               (C2SP signed-note)
# PROOF is a .tlog-proof file (C2SP tlog-proof, no `extra` line), VKEYFILE one line name+id+base64.
# Prints "inclusion OK" and "signature OK"; exit 0 only when both hold, 1 when one does not, 2 when the files are not what they should be.
set -euo pipefail
export LC_ALL=C

refuse() { echo "FAIL: $1" >&2; exit "${2:-1}"; }
[ $# -eq 3 ] || refuse "usage: pubverify.sh PROOF ENTRY VKEYFILE" 2
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT

hex_of_base64() { base64 -d 2>/dev/null | xxd -p | tr -d '\n'; }
sha_of_hex() { xxd -r -p | sha256sum | cut -c1-64; }
parent() { printf '01%s%s' "$1" "$2" | sha_of_hex; }
is_count() { [[ $1 =~ ^(0|[1-9][0-9]{0,17})$ ]]; }

# --- take the proof apart: header, index, hashes, empty line, checkpoint -----------------------------------------------
{
  IFS= read -r header && [ "$header" = "c2sp.org/tlog-proof@v1" ] || refuse "not a .tlog-proof file" 2
  IFS= read -r line && [[ $line == "index "* ]] || refuse "line 2 is not an index" 2
  index=${line#index }
  siblings=()
  while IFS= read -r line && [ -n "$line" ]; do siblings+=("$(hex_of_base64 <<<"$line")"); done
  cat >"$work/checkpoint"
} <"$1"
sed '/^$/,$d' "$work/checkpoint" >"$work/text"
sed '1,/^$/d' "$work/checkpoint" >"$work/signatures"
size=$(sed -n 2p "$work/text")
root=$(sed -n 3p "$work/text" | hex_of_base64)
is_count "$index" && is_count "$size" && [ ${#root} -eq 64 ] || refuse "index, size or root is malformed" 2
[ "$index" -lt "$size" ] || refuse "the index is not in the tree"

# --- walk from the leaf to the root -----------------------------------------------------------------------------------
hash=$({ printf '\0'; cat "$2"; } | sha256sum | cut -c1-64)
node=$index last=$((size - 1))
for sibling in ${siblings[@]+"${siblings[@]}"}; do
  [ ${#sibling} -eq 64 ] || refuse "a hash is malformed" 2
  [ "$last" -gt 0 ] || refuse "the proof is too long"
  if ((node % 2 == 1 || node == last)); then
    hash=$(parent "$sibling" "$hash")
    while ((node % 2 == 0 && node > 0)); do node=$((node >> 1)) last=$((last >> 1)); done
  else
    hash=$(parent "$hash" "$sibling")
  fi
  node=$((node >> 1)) last=$((last >> 1))
done
[ "$last" -eq 0 ] && [ "$hash" = "$root" ] || refuse "the proof does not lead to the root"
echo "inclusion OK"

# --- find the key's line by name and key id, and let openssl judge it --------------------------------------------------
IFS= read -r vkey <"$3" || [ -n "$vkey" ] || refuse "no key" 2
name=${vkey%%+*} rest=${vkey#*+}
id=${rest%%+*} key=$(hex_of_base64 <<<"${rest#*+}")
[[ ${#key} -eq 66 && ${key:0:2} == 01 ]] || refuse "the key is not an Ed25519 log key" 2
[ "$( { printf '%s\n' "$name"; xxd -r -p <<<"$key"; } | sha256sum | cut -c1-8)" = "$id" ] || refuse "the key does not match its id" 2
printf '302a300506032b6570032100%s' "${key:2}" | xxd -r -p >"$work/key.der"
while IFS=' ' read -r dash who blob _; do
  [ "$dash" = "—" ] && [ "$who" = "$name" ] || continue
  raw=$(hex_of_base64 <<<"$blob")
  [ "${raw:0:8}" = "$id" ] || continue
  xxd -r -p <<<"${raw:8}" >"$work/signature"
  openssl pkeyutl -verify -pubin -keyform DER -inkey "$work/key.der" -rawin -in "$work/text" -sigfile "$work/signature" >/dev/null 2>&1 ||
    refuse "the signature does not hold"
  echo "signature OK"
  exit 0
done <"$work/signatures"
refuse "the checkpoint is not signed by this key"
