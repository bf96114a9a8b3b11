/* Words of captions: the difference between two, the slots of a template, a word that is missing. */

const PIECES = /[\p{L}\p{N}_'’-]+|[^\s\p{L}\p{N}_'’-]+/gu

function joinPieces(pieces) {
  return pieces.join(" ").replace(/ ([,.;:!?)])/g, "$1")
}

function diffWords(before, after) {
  const left = before.match(PIECES) ?? []
  const right = after.match(PIECES) ?? []
  const common = Array.from({ length: left.length + 1 }, () => new Array(right.length + 1).fill(0))
  for (let i = left.length - 1; i >= 0; i--) {
    for (let j = right.length - 1; j >= 0; j--) {
      common[i][j] = left[i] === right[j] ? common[i + 1][j + 1] + 1 : Math.max(common[i + 1][j], common[i][j + 1])
    }
  }
  const parts = []
  const push = (kind, word) => {
    if (parts.at(-1)?.kind === kind) parts.at(-1).words.push(word)
    else parts.push({ kind, words: [word] })
  }
  let i = 0
  let j = 0
  while (i < left.length || j < right.length) {
    if (i < left.length && j < right.length && left[i] === right[j]) {
      push("same", left[i])
      i += 1
      j += 1
    } else if (i < left.length && (j === right.length || common[i + 1][j] >= common[i][j + 1])) {
      push("gone", left[i++])
    } else {
      push("new", right[j++])
    }
  }
  return parts
}

function findSlots(text) {
  return [...text.matchAll(/\[[^[\]]+\]/g)].map((match) => [match.index, match.index + match[0].length])
}

function hasWord(text, word) {
  const escaped = word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")
  return new RegExp(`(?<![\\p{L}\\p{N}_])${escaped}(?![\\p{L}\\p{N}_])`, "iu").test(text)
}
