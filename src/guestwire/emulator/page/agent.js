// The agent's page: what the admin API tells, drawn; what a person does, sent there.
//
// Whatever a guest wrote is hostile until shown. Data becomes text nodes and nothing else; `shown` makes invisible and
// direction-turning characters visible; only http and https become links; nothing is loaded from anywhere else.

// --- the admin API ---

async function api(method, path, body) {
  const options = { method };
  if (body !== undefined) {
    options.headers = { "Content-Type": "application/json" };
    options.body = JSON.stringify(body);
  }
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error("The emulator does not answer. Is it still running?");
  }
  const data = await response.json().catch(() => null);
  if (!response.ok) throw new Error(data?.error ?? `The emulator answered ${response.status}.`);
  return data;
}

// --- making elements ---

const $ = (id) => document.getElementById(id);

function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.className = value;
    else if (value !== false && value != null) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child != null && child !== ""));
  return element;
}

// Controls but tab and line feed; marks, embeddings, overrides, isolates; separators that break lines unseen.
const UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/gu;
const LONGEST = 4000;

const C0 = "NUL SOH STX ETX EOT ENQ ACK BEL BS HT LF VT FF CR SO SI DLE DC1 DC2 DC3 DC4 NAK SYN ETB CAN EM SUB ESC FS GS RS US".split(" ");
const hex = (character) => `U+${character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;

/** A name to show for a character that shows nothing itself. Letters: few fonts have the pictures at U+2400. */
const symbol = (character) => C0[character.codePointAt(0)] ?? (character === "\u007f" ? "DEL" : hex(character));

/** Text as nodes, with nothing unseen in it. */
function shown(value) {
  const text = String(value ?? "").replaceAll("\r\n", "\n");
  const fragment = document.createDocumentFragment();
  let from = 0;
  for (const found of text.matchAll(UNSEEN)) {
    fragment.append(text.slice(from, found.index));
    fragment.append(el("span", { class: "control", title: `the character ${hex(found[0])}` }, symbol(found[0])));
    from = found.index + found[0].length;
  }
  fragment.append(text.slice(from));
  return fragment;
}

/** The same within a line of ours, so that its direction stays its own; cut where it is endless. */
function inline(value, longest = 300) {
  const text = String(value ?? "");
  return el("bdi", {}, shown(text.length > longest ? `${text.slice(0, longest)}…` : text));
}

/** A whole text; what is very long waits behind a button. */
function block(text, properties = {}) {
  const place = el("div", { dir: "auto", ...properties });
  if (text.length <= LONGEST) {
    place.append(shown(text));
    return place;
  }
  const more = el("button", { type: "button", class: "quiet", onclick: () => place.replaceChildren(shown(text)) },
    `Show all ${text.length.toLocaleString()} characters`);
  place.append(shown(`${text.slice(0, LONGEST / 2)}… `), more);
  return place;
}

/** The address, if it is one that a person may follow; else null. */
function followable(address) {
  try {
    const url = new URL(address);
    return ["http:", "https:"].includes(url.protocol) ? url : null;
  } catch {
    return null;
  }
}

function link(address, label, properties = {}) {
  const url = followable(address);
  if (!url) return el("span", { title: "not a link that can be followed" }, label, " ", el("small", {}, inline(address, 120)));
  return el("a", { href: url.href, rel: "noreferrer noopener", target: "_blank", title: url.href, ...properties }, label);
}

/** Backticks of the documentation as code. */
function prose(text) {
  return text.split("`").map((piece, place) => (place % 2 ? el("code", {}, piece) : piece));
}

const clockTime = (seconds) => new Date(seconds * 1000).toLocaleTimeString([], { hour12: false });
const counted = (count, noun) => `${count.toLocaleString()} ${noun}${count === 1 ? "" : "s"}`;
const bytes = (size) => (size < 1000 ? `${size} B` : size < 1e6 ? `${(size / 1000).toFixed(1)} kB` : `${(size / 1e6).toFixed(1)} MB`);
const list = (value) => (Array.isArray(value) ? value : []);

// --- what a message holds: one function for each content type ---

const chips = (labels, chosen = false) =>
  el("div", { class: "chips" }, ...labels.map((label) => el("span", { class: chosen ? "chip chosen" : "chip" }, label)));
const tile = (...children) => el("div", { class: "tile" }, ...children);
const titled = (item) => [
  item?.title && el("strong", { dir: "auto" }, shown(item.title)),
  item?.subtitle && el("div", { dir: "auto", class: "softer" }, shown(item.subtitle)),
];
// Pictures are named, never loaded: whose server they lie on would learn who looks.
const picture = (address) => address && el("div", { class: "softer" }, "picture at ", link(address, inline(followable(address)?.host ?? "")));

function action(item) {
  const label = inline(item.text ?? item.payload);
  return item.url ? link(item.url, label, { class: "chip" }) : el("span", { class: "chip", title: `sends ${item.payload ?? ""}` }, label);
}

function card(item = {}) {
  const actions = list(item.actions);
  return tile(picture(item.image), ...titled(item), item.description && el("div", { dir: "auto" }, shown(item.description)),
    actions.length > 0 && el("div", { class: "chips" }, ...actions.map(action)));
}

function slot(time) {
  const at = new Date(time.dateTime);
  const when = Number.isNaN(at.getTime()) ? inline(time.dateTime) : at.toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
  return el("span", { class: "chip", title: String(time.dateTime) }, when, time.duration ? ` · ${Math.round(time.duration / 60)} min` : "");
}

function slots(item = {}) {
  return tile(...titled(item), item.location && el("div", { class: "softer" }, inline(item.location.text ?? item.location.address)),
    el("div", { class: "chips" }, ...list(item.availableTimes).map(slot)));
}

function picker(item = {}) {
  const sections = list(item.sections).map((section) => el("div", { class: "part" }, el("div", { class: "softer" }, inline(section.title)),
    el("ul", {}, ...list(section.items).map((each) => el("li", {}, section.multipleSelection ? "☐ " : "○ ", inline(each.title ?? each.id),
      each.subtitle && el("span", { class: "softer" }, " ", inline(each.subtitle)))))));
  return tile(...titled(item.receivedMessage), ...sections);
}

function component(item = {}) {
  const type = item.formComponentType ?? "";
  const field = item[type.slice(0, 1).toLowerCase() + type.slice(1)] ?? {};
  if (type === "DatePicker") return el("div", { class: "part" }, slots(field));
  if (type === "ListPicker") return el("div", { class: "part" }, picker(field));
  const choices = list(field.items).map((each) => each.title ?? each.value).join(", ");
  return el("div", { class: "part" }, el("div", {}, inline(field.title ?? field.id ?? type), field.isRequired ? " *" : ""),
    el("span", { class: "field" }, inline(choices || field.placeholderText)));
}

function form(item = {}) {
  if (item.response) return el("ul", {}, ...list(item.response).map((each) =>
    el("li", {}, el("span", { class: "softer" }, inline(each.id), ": "), inline(each.component?.buttonResponse?.text))));
  const pages = list(item.formPages).map((page) => el("div", { class: "part" }, ...titled(page), ...list(page.pageComponents).map(component)));
  return tile(...titled(item.introduction ?? item.receivedMessage), ...pages);
}

const CONTENTS = {
  Card: (item) => card(item.card),
  Carousel: (item) => el("div", { class: "row", tabindex: 0, role: "group", "aria-label": "Carousel" }, ...list(item.carousel?.cards).map(card)),
  DatePicker: (item) => slots(item.datePicker),
  ListPicker: (item) => picker(item.listPicker),
  Form: (item) => form(item.form),
  Text: (item) => block(String(item.text?.body ?? "")),
  Reactions: (item) => chips(list(item.reactions).map((each) => inline(`${each.reactionType} ${each.count ?? ""}`))),
};

const raw = (value) => JSON.stringify(value, null, 2);

function contents(items) {
  const replies = items.filter((item) => item.contentType === "QuickReply" && item.quickReply);
  const answers = items.filter((item) => item.contentType === "ButtonResponse" && item.buttonResponse);
  const others = items.filter((item) => !replies.includes(item) && !answers.includes(item));
  const parts = others.map((item) => {
    const draw = Object.hasOwn(CONTENTS, item.contentType) ? CONTENTS[item.contentType] : null;
    const kind = el("span", { class: "kind" }, inline(item.contentType ?? "no content type", 40));
    return draw ? el("div", { class: "part" }, draw(item)) : el("div", { class: "part" }, kind, block(raw(item), { class: "said-text softer" }));
  });
  if (replies.length) parts.push(el("div", { class: "part" }, chips(replies.map((item) => inline(item.quickReply.text)))));
  if (answers.length) {
    parts.unshift(el("div", { class: "part" }, el("span", { class: "kind" }, "chose "),
      chips(answers.map((item) => inline(item.buttonResponse.text || item.buttonResponse.payload)), true)));
  }
  return parts;
}

function attachment(file) {
  const size = file.fileSize ?? file.contentSizeBytes;
  const name = inline(file.filename ?? file.id ?? "file");
  return el("div", { class: "part file" }, "📎", file.url ? link(file.url, name, { download: true }) : name,
    el("span", { class: "softer" }, [size != null && bytes(size), file.mime ?? file.mediaType].filter(Boolean).join(" · ")));
}

function messageItem(message) {
  const agent = message.direction === "Outbound";
  const author = agent ? message.nickname || (message.author === "Bot" ? "Bot" : "Agent") : guestOf(message);
  const bubble = el("div", { class: "bubble" });
  const answered = list(message.content).some((item) => item.contentType === "ButtonResponse" && item.buttonResponse?.text === message.text);
  if (message.text && !answered) bubble.append(block(message.text, { class: "said-text" }));
  bubble.append(...contents(list(message.content)), ...list(message.attachments).map(attachment));
  // A card has a frame of its own.
  if (bubble.children.length && [...bubble.children].every((part) => part.querySelector(".tile"))) bubble.classList.add("bare");
  if (!bubble.hasChildNodes()) bubble.append(el("span", { class: "softer" }, "without text"));
  const details = el("details", {}, el("summary", { title: "The message as the admin API has it", "aria-label": "The message as it is" }, "{ }"));
  const item = el("li", { class: agent ? "message agent" : "message" }, bubble,
    el("div", { class: "by" }, inline(author, 80), el("time", { datetime: message.time, title: message.time }, clockTime(message.received_at)), details));
  details.addEventListener("toggle", () => {
    if (details.open) item.append(el("pre", { class: "raw" }, shown(raw(message).slice(0, 20_000))));
    else item.querySelector("pre.raw")?.remove();
  });
  return item;
}

const eventItem = (words, wrong = false) => el("li", { class: wrong ? "event wrong" : "event" }, el("span", {}, ...words));

/** Words for a presence or another event that is no message; null for typing, which has a place of its own. */
function happening(view) {
  const who = view.direction === "Outbound" ? (view.nickname ? inline(view.nickname, 80) : "The agent's side") : "The guest";
  const words = list(view.events).filter((event) => event.eventType !== "Typing").map((event) => {
    const type = event.presence?.type ?? event.coBrowse?.type ?? event.video?.type ?? "";
    const known = { Join: "joined", Disconnect: "ended the conversation", Clear: "cleared the conversation", SignIn: "signed in" };
    return known[type] ?? `: ${[event.eventType, type].filter(Boolean).join(" ")}`;
  });
  return words.length ? [who, " ", inline(words.join(", "), 120)] : null;
}

// --- what is known ---

const state = {
  deployment: "", offset: 0, faultKinds: {}, triggerKinds: {},
  conversations: new Map(), last: new Map(), unread: new Map(), events: new Map(),
  chosen: null, messages: [], ids: new Set(), first: 0,
  loaded: false, loading: null, failed: "", waiting: [],
};
const PAGE = 100;
const EVENTS_KEPT = 50;
const LISTED = 300;

const guestOf = (item) => item.guest_id ? String(item.guest_id) : `guest ${String(item.token_sha256).slice(0, 6)}`;
const now = () => Date.now() / 1000 + state.offset;
const chosen = () => state.conversations.get(state.chosen);

// --- the list of conversations ---

function preview(message) {
  if (message.text) return message.text.slice(0, 120);
  if (message.attachments?.length) return `📎 ${message.attachments[0].filename ?? "file"}`;
  const [item] = list(message.content);
  const held = item?.card ?? item?.carousel?.cards?.[0] ?? item?.datePicker ?? item?.listPicker?.receivedMessage ?? item?.form?.introduction;
  return item?.buttonResponse?.text ?? held?.title ?? item?.contentType ?? "";
}

const remember = (message) => state.last.set(message.conversation_id, { text: preview(message), at: message.received_at });

const tale = (conversation) => [
  conversation.read_only ? "read-only" : conversation.ended_at && "ended",
  counted(conversation.messages, "message"), clockTime(conversation.started_at).slice(0, 5),
].filter(Boolean).join(" · ");

function matches(conversation, wanted) {
  if (!wanted) return true;
  const words = [guestOf(conversation), conversation.conversation_id, state.last.get(conversation.conversation_id)?.text,
    ...Object.entries(conversation.custom_attributes).map((pair) => pair.join("="))];
  return words.join(" ").toLocaleLowerCase().includes(wanted);
}

const rows = new Map();

function row(conversation) {
  const id = conversation.conversation_id;
  if (!rows.has(id)) {
    const button = el("button", { type: "button", onclick: () => choose(id) }, el("span", { class: "who" }),
      el("span", { class: "new" }), el("span", { class: "last", dir: "auto" }), el("span", { class: "tale" }));
    rows.set(id, el("li", {}, button));
  }
  const item = rows.get(id);
  const button = item.firstChild;
  const [who, unread, last, told] = button.children;
  const count = state.unread.get(id) ?? 0;
  const connected = conversation.connections > 0 && !conversation.ended_at;
  button.dataset.connected = connected;
  button.setAttribute("aria-current", id === state.chosen);
  who.replaceChildren(inline(guestOf(conversation), 40), el("span", { class: "unseen" }, connected ? ", connected" : ", not connected"));
  unread.replaceChildren(count ? String(count) : "", el("span", { class: "unseen" }, count ? " new" : ""));
  if (!count) unread.replaceChildren();
  last.replaceChildren(shown((state.last.get(id)?.text ?? "").replaceAll("\n", " ⏎ ")));
  told.textContent = tale(conversation);
  return item;
}

function drawList() {
  const wanted = $("filter").value.trim().toLocaleLowerCase();
  const found = [...state.conversations.values()].filter((each) => matches(each, wanted)).reverse();
  const items = found.slice(0, LISTED).map(row);
  // Where the order is the same nothing is moved, so that the focus stays where it is.
  if (items.length !== $("list").children.length || items.some((item, place) => item !== $("list").children[place])) {
    const focused = document.activeElement;
    $("list").replaceChildren(...items);
    if ($("list").contains(focused)) focused.focus({ preventScroll: true });
  }
  const note = $("list-note");
  if (!state.loaded) note.replaceChildren(state.failed ? "Not loaded." : "");
  else if (!state.conversations.size) note.replaceChildren("Nothing yet.");
  else if (!found.length) {
    note.replaceChildren(el("p", {}, "No conversation matches ", el("bdi", {}, "“", shown($("filter").value), "”"), "."),
      el("button", { type: "button", onclick: () => { $("filter").value = ""; drawList(); $("filter").focus(); } }, "Clear the filter"));
  } else note.replaceChildren(found.length > LISTED ? `… and ${counted(found.length - LISTED, "older one")}. Filter to find one.` : "");
}

// --- the conversation in the middle ---

function blank() {
  const place = $("blank");
  if (state.failed && !state.loaded) {
    return place.replaceChildren(el("h3", {}, "The page could not be loaded"), el("p", {}, state.failed),
      el("button", { type: "button", class: "main", onclick: () => load() }, "Try again"));
  }
  if (!state.loaded || state.chosen) return place.replaceChildren();
  if (state.conversations.size) return place.replaceChildren(el("p", {}, "Choose a conversation on the left."));
  const url = location.origin;
  place.replaceChildren(el("h3", {}, "No conversation yet"),
    el("p", {}, "One begins with a guest's first message, and appears here at once. In a terminal:"),
    el("pre", {}, `guestwire send --gateway ${url} --guest 42 "Where is my order?"`),
    el("p", {}, "Or point your own client at this address, with this deployment id:"),
    el("pre", {}, `${url.replace(/^http/, "ws")}/v1?deploymentId=${state.deployment}`));
}

function drawHead() {
  const conversation = chosen();
  blank();
  $("scroller").hidden = !conversation;
  $("thread-head").hidden = !conversation;
  $("answer-fields").disabled = !conversation || Boolean(conversation.ended_at);
  $("say").placeholder = !conversation ? "Answer as the agent" : conversation.ended_at
    ? (conversation.read_only ? "The conversation is over, and the guest may not write any more" : "Over: the guest's next message begins another conversation")
    : "Answer as the agent: Enter sends, Shift+Enter breaks the line";
  $("thread-title").replaceChildren(conversation ? inline(guestOf(conversation), 80) : "No conversation");
  if (!conversation) return $("thread-facts").replaceChildren();
  const marks = [conversation.ended_at ? "ended" : conversation.platform !== "WebMessaging" ? `over REST: ${conversation.platform}` : conversation.connections ? `connected${conversation.connections > 1 ? ` × ${conversation.connections}` : ""}` : "not connected",
    conversation.read_only && "read-only", conversation.human && "handed over", counted(conversation.messages, "message")].filter(Boolean);
  $("thread-facts").replaceChildren(...marks.map((mark) => el("span", {}, mark)),
    el("code", { title: "conversation id" }, conversation.conversation_id),
    ...Object.entries(conversation.custom_attributes).map(([name, value]) => el("span", {}, inline(name, 60), "=", inline(value, 120))));
}

const atEnd = () => { const box = $("scroller"); return box.scrollHeight - box.scrollTop - box.clientHeight < 60; };
function toEnd() { $("scroller").scrollTop = $("scroller").scrollHeight; $("newest").hidden = true; }

/** Messages and what happened between them, in the order of time. */
function story() {
  const conversation = chosen();
  const told = [...(state.events.get(state.chosen) ?? [])];
  const items = state.messages.slice(state.first).map((message) => ({ at: message.received_at, draw: () => messageItem(message) }));
  const from = state.first ? items[0]?.at ?? 0 : 0;
  items.push(...told.filter((each) => each.at >= from));
  items.sort((one, other) => one.at - other.at);
  if (!state.first) items.unshift({ draw: () => eventItem([`Begun ${new Date(conversation.started_at * 1000).toLocaleString()}`]) });
  if (conversation.ended_at) items.push({ draw: () => eventItem([`Ended ${clockTime(conversation.ended_at)}${conversation.read_only ? ", read-only" : ""}`]) });
  return items;
}

function drawThread({ stay = false } = {}) {
  drawHead();
  if (!chosen()) return;
  const box = $("scroller");
  const end = atEnd();
  const before = box.scrollHeight;
  $("earlier").hidden = state.first === 0;
  $("messages").replaceChildren(...story().map((item) => item.draw()));
  if (stay) box.scrollTop += box.scrollHeight - before;
  else if (end) toEnd();
}

function append(item, { mine = false } = {}) {
  const end = atEnd();
  item.classList.add("fresh");
  $("messages").append(item);
  if (end || mine) toEnd();
  else $("newest").hidden = false;
}

async function choose(id, { focus = false } = {}) {
  state.chosen = id;
  state.messages = [];
  state.ids = new Set();
  state.first = 0;
  state.unread.delete(id);
  typing.hide();
  drawList();
  drawHead();
  $("messages").replaceChildren();
  $("newest").hidden = true;
  try {
    const found = await api("GET", `messages?conversation_id=${encodeURIComponent(id)}`);
    if (state.chosen !== id) return;
    const ids = new Set(found.map((message) => message.id));
    state.messages = [...found, ...state.messages.filter((message) => !ids.has(message.id))];
    state.ids = new Set(state.messages.map((message) => message.id));
    state.first = Math.max(0, state.messages.length - PAGE);
    if (state.messages.length) remember(state.messages.at(-1));
    drawThread();
    toEnd();
    if (focus) $("say").focus();
  } catch (error) {
    say(error.message, true);
  }
}

const typing = {
  timer: 0,
  show(words, milliseconds) {
    $("typing").textContent = words;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.hide(), milliseconds);
  },
  hide() { $("typing").textContent = ""; },
};

// --- saying what came of something ---

let saidTimer = 0;
function say(words, wrong = false) {
  $("said").dataset.wrong = wrong;
  $("said").replaceChildren(shown(words));
  clearTimeout(saidTimer);
  saidTimer = setTimeout(() => $("said").replaceChildren(), wrong ? 9000 : 4000);
}

/** For those who listen rather than look: the last few arrivals. */
function announce(words) {
  const place = $("heard");
  place.append(el("p", {}, shown(words)));
  while (place.children.length > 5) place.firstChild.remove();
}

async function attempt(work, done) {
  try {
    const answer = await work();
    if (done) say(typeof done === "function" ? done(answer) : done);
    return answer ?? true;
  } catch (error) {
    say(error.message, true);
    return null;
  }
}

// --- what happens, as it happens ---

const takes = {
  conversation(view) {
    const id = view.conversation_id;
    const known = state.conversations.get(id);
    state.conversations.set(id, view);
    if (!known && !state.chosen) choose(id);
    if (id !== state.chosen) return;
    drawHead();
    if (known && !known.ended_at && view.ended_at) drawThread();
  },
  message(view) {
    const id = view.conversation_id;
    const conversation = state.conversations.get(id);
    if (conversation) {
      conversation.messages += 1;
      Object.assign(conversation.custom_attributes, view.custom_attributes);
    }
    remember(view);
    const inbound = view.direction === "Inbound";
    if (inbound) announce(`${guestOf(view)}: ${preview(view)}`);
    if (id !== state.chosen) {
      if (inbound) state.unread.set(id, (state.unread.get(id) ?? 0) + 1);
      return;
    }
    if (state.ids.has(view.id)) return;
    state.ids.add(view.id);
    state.messages.push(view);
    typing.hide();
    drawHead();
    append(messageItem(view), { mine: !inbound });
  },
  event(view) {
    const types = list(view.events).find((event) => event.eventType === "Typing");
    const here = view.conversation_id === state.chosen;
    if (types && here) typing.show(view.direction === "Outbound" ? "The agent is typing …" : "The guest is typing …", Math.min(types.typing?.duration || 5000, 30_000));
    const words = happening(view);
    if (words) note(view.conversation_id, words);
  },
  fault(view) {
    refreshFaults();
    const words = [`Fault ${view.id} fired: `, el("b", {}, view.kind)];
    for (const conversation of state.conversations.values()) {
      if (conversation.token_sha256 === view.token_sha256 && !conversation.ended_at) note(conversation.conversation_id, words, true);
    }
  },
  trigger(view) {
    for (const conversation of state.conversations.values()) {
      if (conversation.token_sha256 === view.token_sha256 && !conversation.ended_at) note(conversation.conversation_id, [`Triggered: `, el("b", {}, view.what)]);
    }
  },
  reset() { forget(); load(); },
  gap() { load(); },
};

/** A thin line in a conversation. It is kept while the page is open: the admin API lists messages only. */
function note(id, words, wrong = false) {
  const told = state.events.get(id) ?? [];
  // Behind what was said last, whatever the two clocks say.
  const last = state.last.get(id)?.at;
  const item = { at: last === undefined ? now() : last + 1e-6, draw: () => eventItem(words.map((word) => (word instanceof Node ? word.cloneNode(true) : word)), wrong) };
  told.push(item);
  state.events.set(id, told.slice(-EVENTS_KEPT));
  if (id === state.chosen) append(item.draw());
}

let drawing = false;
function takeOne(kind, data) {
  if (state.loading) return void state.waiting.push([kind, data]);
  takes[kind](data);
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => { drawing = false; drawList(); });
}

function setLink(status, words) {
  $("link").dataset.link = status;
  $("link").textContent = words;
}

function follow() {
  const source = new EventSource("events");
  source.addEventListener("open", () => { setLink("live", "live"); load(); });
  source.addEventListener("error", () => {
    setLink("lost", "not connected, trying again");
    if (!state.loaded && !state.loading) load();
    if (source.readyState !== EventSource.CLOSED) return;
    source.close();
    setTimeout(follow, 3000);
  });
  for (const kind of Object.keys(takes)) source.addEventListener(kind, (event) => takeOne(kind, JSON.parse(event.data)));
}

function forget() {
  for (const known of [state.conversations, state.last, state.unread, state.events, rows]) known.clear();
  Object.assign(state, { chosen: null, messages: [], ids: new Set(), first: 0 });
  $("messages").replaceChildren();
  typing.hide();
}

/** Read everything anew. What happens meanwhile waits, and is taken afterwards. */
function load() {
  state.loading ??= readAll().finally(() => {
    state.loading = null;
    const waiting = state.waiting.splice(0);
    for (const [kind, data] of waiting) takeOne(kind, data);
    // Whether a message that came meanwhile was counted already cannot be told: count again.
    if (waiting.some(([kind]) => kind === "message")) setTimeout(load, 500);
    drawList();
    drawThread();
    $("thread").setAttribute("aria-busy", "false");
  });
  return state.loading;
}

async function readAll() {
  $("thread").setAttribute("aria-busy", "true");
  try {
    const [about, conversations, faults, triggers] = await Promise.all(
      ["state", "conversations", "faults", "trigger"].map((path) => api("GET", path)));
    if (state.deployment && state.deployment !== about.deployment_id) forget();
    state.deployment = about.deployment_id;
    state.offset = about.now - Date.now() / 1000;
    state.conversations = new Map(conversations.map((each) => [each.conversation_id, each]));
    if (about.messages && about.messages <= 5000) {
      for (const message of await api("GET", "messages")) remember(message);
    }
    Object.assign(state, { loaded: true, failed: "", faultKinds: faults.kinds, triggerKinds: triggers.kinds });
    $("url").textContent = location.origin;
    $("deployment").textContent = about.deployment_id;
    options($("fault-kind"), faults.kinds, drawFaultKind, "lose_echo");
    options($("trigger-what"), triggers.kinds, drawTriggerKind, "typing");
    drawFaults(faults.faults);
    const newest = conversations.at(-1)?.conversation_id;
    if (!state.conversations.has(state.chosen)) state.chosen = null;
    if (state.chosen ?? newest) await choose(state.chosen ?? newest);
  } catch (error) {
    state.failed = error.message;
    if (state.loaded) say(error.message, true);
  }
}

// --- tools ---

function options(select, kinds, draw, first) {
  const names = Object.keys(kinds);
  if (select.children.length === names.length) return;
  select.replaceChildren(...names.map((name) => el("option", { value: name }, name.replaceAll("_", " "))));
  select.value = first;
  draw();
}

/** A labelled field for each parameter of a fault or a trigger, by the type of its default. */
function fields(place, parameters) {
  place.replaceChildren(...Object.entries(parameters).flatMap(([name, value]) => {
    const id = `${place.id}-${name}`;
    const checkbox = typeof value === "boolean";
    const input = el("input", { id, "data-name": name, type: checkbox ? "checkbox" : typeof value === "number" ? "number" : "text",
      value: checkbox || value == null ? null : typeof value === "object" ? JSON.stringify(value) : value, checked: checkbox && value, placeholder: value == null ? "as set" : null, step: typeof value === "number" ? "any" : null });
    return [el("label", { for: id }, name.replaceAll("_", " ")), el("span", {}, input)];
  }));
}

/** JSON as typed; what is none goes as it is, and is refused with a sentence. */
function parsed(typed) {
  try {
    return JSON.parse(typed);
  } catch {
    return typed;
  }
}

function given(place, parameters) {
  const found = {};
  for (const input of place.querySelectorAll("[data-name]")) {
    const name = input.dataset.name;
    const value = parameters[name];
    if (typeof value === "boolean") found[name] = input.checked;
    else if (typeof value === "number") found[name] = Number(input.value);
    else if (value != null && typeof value === "object") found[name] = parsed(input.value.trim() || JSON.stringify(value));
    else if (value != null) found[name] = input.value;
    // No default of its own: true, false or a number; nothing leaves it to the settings.
    else if (input.value.trim()) found[name] = JSON.parse(/^(true|false|[\d.]+)$/.test(input.value.trim()) ? input.value : JSON.stringify(input.value));
  }
  return found;
}

function drawFaultKind() {
  const kind = state.faultKinds[$("fault-kind").value];
  if (!kind) return;
  $("fault-does").replaceChildren(...prose(kind.does));
  fields($("fault-parameters"), kind.parameters);
  $("fault-match").hidden = kind.point !== undefined && kind.point !== "request";
}

function drawTriggerKind() {
  const kind = state.triggerKinds[$("trigger-what").value];
  if (!kind) return;
  $("trigger-does").replaceChildren(...prose(kind.does));
  fields($("trigger-parameters"), kind.parameters);
}

function drawFaults(faults) {
  $("faults").replaceChildren(...faults.map((fault) => {
    const about = [fault.times == null ? "without end" : `${fault.fired} of ${fault.times}`, `seen ${fault.seen}`,
      fault.match.token_sha256 && `guest ${fault.match.token_sha256.slice(0, 6)}`].filter(Boolean).join(" · ");
    return el("li", {}, el("span", {}, el("b", {}, fault.kind.replaceAll("_", " ")),
      el("small", {}, about, fault.match.text ? " · " : "", fault.match.text ? inline(`“${fault.match.text}”`, 60) : "")),
    el("button", { type: "button", "aria-label": `Remove fault ${fault.id}, ${fault.kind}`, onclick: () => removeFault(fault.id) }, "✕"));
  }));
}

async function removeFault(id) {
  await attempt(() => api("DELETE", `faults/${encodeURIComponent(id)}`), `Fault ${id} is gone.`);
  await refreshFaults();
  $("fault-kind").focus();
}

async function refreshFaults() {
  const found = await attempt(() => api("GET", "faults"));
  if (found) drawFaults(found.faults);
}

async function inject(event) {
  event.preventDefault();
  const name = $("fault-kind").value;
  const fault = { kind: name, ...given($("fault-parameters"), state.faultKinds[name].parameters), match: {} };
  fault.times = $("fault-times").value ? Number($("fault-times").value) : null;
  if (!$("fault-match").hidden) {
    if ($("fault-text").value) fault.match.text = $("fault-text").value;
    if ($("fault-guest").checked && chosen()) fault.match.token_sha256 = chosen().token_sha256;
  }
  await attempt(() => api("POST", "faults", fault), (answer) => `Fault ${answer.ids[0]} waits for its turn.`);
  await refreshFaults();
}

async function trigger(event) {
  event.preventDefault();
  const what = $("trigger-what").value;
  const order = { what, ...given($("trigger-parameters"), state.triggerKinds[what].parameters) };
  if (state.chosen && !chosen().ended_at) order.conversation_id = state.chosen;
  await attempt(() => api("POST", "trigger", order), `Triggered: ${what}.`);
}

async function advance(seconds) {
  const answer = await attempt(() => api("POST", "clock", { advance_s: seconds }), `The clock moved by ${seconds === 60 ? "a minute" : "an hour"}.`);
  if (answer) state.offset = answer.now - Date.now() / 1000;
  tick();
}

function tick() {
  const at = new Date(now() * 1000);
  $("clock").dateTime = at.toISOString();
  $("clock").textContent = at.toLocaleString([], { dateStyle: "medium", timeStyle: "medium", hour12: false });
}

// --- answering ---

function composed() {
  const order = { conversation_id: state.chosen };
  const content = [];
  if ($("say").value.trim()) order.text = $("say").value;
  if ($("nickname").value.trim()) order.nickname = $("nickname").value.trim();
  if (!$("card-panel").hidden && $("card-title").value.trim()) {
    const [label, target] = [$("card-button").value.trim(), $("card-target").value.trim()];
    const does = followable(target) ? { type: "Link", url: target } : { type: "Postback", payload: target || label };
    content.push({ contentType: "Card", card: { title: $("card-title").value.trim(),
      ...($("card-description").value.trim() && { description: $("card-description").value.trim() }),
      ...(label && { actions: [{ text: label, ...does }] }) } });
  }
  if (!$("quick-panel").hidden) {
    for (const label of $("quick").value.split(",").map((each) => each.trim()).filter(Boolean)) {
      content.push({ contentType: "QuickReply", quickReply: { text: label, payload: label, action: "Message" } });
    }
  }
  if (content.length) order.content = content;
  return order;
}

let sending = false;
async function answer(event) {
  event?.preventDefault();
  const order = composed();
  if (sending || (!order.text && !order.content)) return;
  sending = true;
  const sent = await attempt(() => api("POST", "agent", order));
  sending = false;
  if (!sent) return;
  for (const id of ["say", "quick", "card-title", "card-description", "card-button", "card-target"]) $(id).value = "";
  unfold("quick", false);
  unfold("card", false);
  $("say").focus();
}

function unfold(name, open = $(`${name}-panel`).hidden) {
  $(`${name}-panel`).hidden = !open;
  $(`act-${name}`).setAttribute("aria-expanded", open);
  if (open) $(`${name}-panel`).querySelector("input").focus();
}

const act = (order, done) => attempt(() => api("POST", "agent", { conversation_id: state.chosen, ...order }), done);

// --- begin ---

function withTools(open) {
  document.body.classList.toggle("with-tools", open);
  $("toggle-tools").setAttribute("aria-expanded", open);
}

$("filter").addEventListener("input", drawList);
$("answer").addEventListener("submit", answer);
$("say").addEventListener("keydown", (event) => {
  // While a script such as kana is being composed, Enter belongs to the composing.
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  answer();
});
for (const name of ["quick", "card"]) $(`act-${name}`).addEventListener("click", () => unfold(name));
$("act-typing").addEventListener("click", () => act({ event: "typing", nickname: $("nickname").value.trim() || undefined }));
$("act-end").addEventListener("click", () => act({ event: "disconnect", read_only: false }, "Disconnected."));
$("act-end-read-only").addEventListener("click", () => act({ event: "disconnect", read_only: true }, "Disconnected: the guest may not write any more."));
$("earlier").addEventListener("click", () => { state.first = Math.max(0, state.first - PAGE); drawThread({ stay: true }); });
$("newest").addEventListener("click", toEnd);
$("scroller").addEventListener("scroll", () => { if (atEnd()) $("newest").hidden = true; });
$("list").addEventListener("keydown", (event) => {
  const step = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key];
  if (!step) return;
  event.preventDefault();
  event.target.closest("li")?.[step]?.firstChild.focus();
});
$("fault").addEventListener("submit", inject);
$("fault-kind").addEventListener("change", drawFaultKind);
$("trigger").addEventListener("submit", trigger);
$("trigger-what").addEventListener("change", drawTriggerKind);
for (const button of document.querySelectorAll("[data-advance]")) button.addEventListener("click", () => advance(Number(button.dataset.advance)));
$("reset").addEventListener("click", () => $("sure").showModal());
$("sure-no").addEventListener("click", () => $("sure").close());
$("sure-yes").addEventListener("click", () => { $("sure").close(); attempt(() => api("POST", "reset"), "Begun again."); });
$("toggle-tools").addEventListener("click", () => withTools(!document.body.classList.contains("with-tools")));
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || !document.body.classList.contains("with-tools") || $("sure").open) return;
  withTools(false);
  $("toggle-tools").focus();
});
setInterval(tick, 1000);
tick();
drawHead();
follow();
