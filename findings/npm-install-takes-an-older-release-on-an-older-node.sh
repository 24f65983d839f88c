#!/usr/bin/env bash
# A good guess: `npm install PACKAGE` installs the release that `npm view PACKAGE version` names, the one with the tag
# `latest`, and says so if that wants another Node.
#
# What happens: among the releases that a range takes (no range at all is `*`) npm prefers those whose `engines` fit the Node
# that runs it, and takes an older one without a word: on Node 20 `npm install @ai-sdk/mcp` gives 1.0.102 where `latest` is
# 2.0.99, and Claude Code comes as 2.1.197 instead of 2.1.332. Only a version that is named, or the tag written out
# (`@latest`), is installed all the same, with the warning EBADENGINE. Here a range of two stands for "any release", so that
# what is compared stays the same.
#
# Seen with npm 11.19.1 on Node 20.20.2, @ai-sdk/mcp 1.0.102 and 2.0.99, on 2026-11-28.
#
# Why it matters here: what is written of "the newest release" of a client was measured with another one, and nothing says so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund --prefix . node@20.20.2 npm@11.19.1
export PATH="$folder/node_modules/node/bin:$PATH"
try() {
    mkdir "$1"
    node node_modules/npm/bin/npm-cli.js install --no-audit --no-fund --prefix "$1" "@ai-sdk/mcp@$2" zod@4.6.7 >"$1.log" 2>&1
    version=$(node -p "require('./$1/node_modules/@ai-sdk/mcp/package.json').version")
    warned=$(grep -q EBADENGINE "$1.log" && echo "with a warning" || echo "without a word")
    echo "$version $warned"
}
any=$(try any "1.0.102 || 2.0.99")
named=$(try named "2.0.99")
echo "Node $(node --version), any release: $any"
echo "the newest by its number: $named"
[ "$any" = "1.0.102 without a word" ] && [ "$named" = "2.0.99 with a warning" ] || { echo "it changed"; exit 1; }
