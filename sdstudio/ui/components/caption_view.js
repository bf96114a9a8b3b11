/* What the caption editor shows. Everything is set as text, never as HTML; each picture keeps an element of its own, so
   that a caption never stands beside the picture of another. */

const TINY = 192
const KEPT_PICTURES = 16
const COUNT_MS = 150

function createView(root) {
  const find = (selector) => root.querySelector(selector)
  const box = find("textarea")
  const pictures = new Map()
  const counts = new Map()
  let counting = 0
  let counted = "" // the picture whose tokens are shown

  const pictureOf = (record) => {
    const known = pictures.get(record.id)
    if (known) return known
    const picture = new Image()
    picture.className = Math.max(record.width, record.height) <= TINY ? "picture tiny" : "picture"
    picture.alt = "The picture being captioned"
    picture.width = record.width
    picture.height = record.height
    picture.src = record.picture
    pictures.set(record.id, picture)
    if (pictures.size > KEPT_PICTURES) pictures.delete(pictures.keys().next().value)
    return picture
  }

  const say = (text, bad = false) => {
    find(".status").textContent = text
    find(".status").classList.toggle("bad", bad)
  }

  const showDraft = (record) => {
    find(".draft").hidden = !record.draft
    find('[data-do="use-draft"]').hidden = record.draft === record.text
    const parts = record.draft ? diffWords(record.draft, record.text) : []
    const tags = { same: "span", gone: "del", new: "ins" }
    const nodes = parts.flatMap((part) => {
      const element = document.createElement(tags[part.kind])
      element.textContent = joinPieces(part.words)
      return /^[,.;:!?)]/.test(element.textContent) ? [element] : [" ", element]
    })
    find(".draft-text").replaceChildren(...nodes)
  }

  const showCount = (count) => {
    find(".tokens").textContent = count ? `${count.count} / ${count.limit} tokens` : ""
    find(".tokens").classList.toggle("bad", Boolean(count?.cut))
    find(".cut").hidden = !count?.cut
    find(".cut-words").textContent = count?.cut ?? ""
  }

  const countTokens = (record, url) => {
    const text = record.text
    clearTimeout(counting)
    if (counted !== record.id) showCount(null)
    counted = record.id
    if (counts.has(text)) return showCount(counts.get(text))
    counting = setTimeout(async () => {
      try {
        const answer = await fetch(url, { method: "POST", body: text })
        if (!answer.ok) return
        counts.set(text, await answer.json())
        if (counts.size > 100) counts.delete(counts.keys().next().value)
        if (box.value === text) showCount(counts.get(text))
      } catch { /* the studio is away: the count stays what it was */ }
    }, COUNT_MS)
  }

  const words = (record, data) => {
    const open = findSlots(record.text).length
    find(".slots").hidden = !open
    find(".slots-text").textContent = open === 1 ? "One slot is still open." : `${open} slots are still open.`
    find(".identifier").hidden = !data.identifier || !record.text || hasWord(record.text, data.identifier)
    find(".identifier-word").textContent = data.identifier
    find('[data-do="template"]').hidden = !data.template || open > 0
    showDraft(record)
    countTokens(record, data.tokens)
  }

  const state = (record) => {
    const badge = find(".state")
    badge.textContent = record.excluded ? "kept out of training" : record.text === record.saved ? record.state : "modified"
    badge.dataset.state = badge.textContent
    find('[data-ask="exclude"]').hidden = record.excluded
    find('[data-ask="include"]').hidden = !record.excluded
    find(".conflict").hidden = !record.conflict
    find(".theirs").textContent = record.conflict?.caption || "(nothing)"
  }

  const place = (number, total) => {
    const field = find(".number")
    if (document.activeElement !== field && field.getRootNode().activeElement !== field) field.value = number ?? ""
    field.placeholder = "–"
    field.max = total
    find(".total").textContent = number ? `of ${total.toLocaleString("en")}` : `· not among the ${total.toLocaleString("en")} of this filter`
  }

  const show = (record, data) => {
    const picture = pictureOf(record)
    if (find(".stage").firstChild !== picture) find(".stage").replaceChildren(picture)
    if (box.value !== record.text) box.value = record.text
    find(".file").textContent = `${record.name} · ${record.width} × ${record.height}`
    state(record)
    words(record, data)
  }

  return { box, find, say, show, state, words, place, preload: (records) => records.forEach(pictureOf) }
}
