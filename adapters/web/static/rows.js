// From messages and states to what stands on the page, row by row. Pure: no element is touched here.

const OUTCOMES = {
  failed: "This could not be answered.",
  expired: "Nobody answered this in time: Hearth was away for too long.",
  stopped: "Stopped before the first word.",
};

/**
 * The rows of a conversation, in order. A row keeps its key from the moment a question is sent to the stored answer.
 * @param {import("./conversation.js").OpenConversation} conversation
 * @returns {object[]} `{key, kind: "question", node}` or `{key, kind: "answer", node, states, question, waiting, words, failed}`
 */
export function rowsOf(conversation) {
  const { messages, live, sent, passing } = conversation;
  const rows = [];
  const nodes = shownOf([...messages, ...sent.values()], live);
  const answers = new Map(nodes.filter((node) => node.role === "assistant").map((node) => [node.parent, node]));
  addPassing(rows, passing, null);
  for (const node of nodes) {
    if (node.role === "assistant") {
      if (!rows.some((row) => row.node === node)) rows.push(answerRow(`a${node.id}`, { node }));
    } else if (node.role === "user") {
      rows.push({ key: questionKey(node), kind: "question", node });
      rows.push(...answersOf(node, answers.get(node.id), live.get(node.event)));
    }
    addPassing(rows, passing, node.id);
  }
  return rows;
}

/** Whether the server has not taken this question into the line yet. */
function waits(node) {
  return node.id === null || node.state === "pending";
}

/** Where a new answer or an edited question follows an earlier message, the line that it leaves is not shown any more. */
function shownOf(nodes, live) {
  let shown = [];
  for (const node of nodes) {
    if (waits(node) && node.follows !== undefined && node.follows !== null) shown = upTo(shown, node.follows);
    shown.push(node);
    if (!waits(node) && node.role === "user" && replaces(live.get(node.event)))
      return [...shown, ...nodes.filter((other) => waits(other))];
  }
  return shown;
}

/** Whether these states are of an answer that goes, or has just gone, into the line. The words about a failure do not. */
function replaces(states) {
  return states !== undefined && [...states.values()].every((state) => !state.failed);
}

function upTo(nodes, id) {
  if (!id) return [];
  const index = nodes.findIndex((node) => node.id === id);
  return index < 0 ? nodes : nodes.slice(0, index + 1);
}

function questionKey(node) {
  return `q${node.event ?? node.id}`;
}

/** The rows after a question: its answer, and the words about another try that failed. */
function answersOf(question, node, live) {
  const key = `a-${questionKey(question)}`;
  const states = live && [...live.values()].sort((one, other) => one.number - other.number);
  const silent = Boolean(OUTCOMES[question.outcome]);
  if (!states) {
    if (node) return [answerRow(key, { question, node })];
    if (silent)
      return [
        answerRow(key, { question, words: OUTCOMES[question.outcome], failed: question.outcome === "failed", silent }),
      ];
    return waits(question) || question.outcome ? [answerRow(key, { question, waiting: true })] : [];
  }
  const failed = states.some((state) => state.failed);
  const row = answerRow(key, {
    question,
    node: failed ? null : node,
    states,
    failed,
    silent,
    waiting: states.some((state) => !state.final),
  });
  return failed && node ? [answerRow(key, { question, node }), { ...row, key: `failed-${key}` }] : [row];
}

function answerRow(key, fields) {
  return {
    key,
    kind: "answer",
    node: null,
    states: null,
    question: null,
    waiting: false,
    words: "",
    failed: false,
    silent: false,
    ...fields,
  };
}

/** Commands and their answers, after the message that was the last one then. */
function addPassing(rows, passing, after) {
  for (const [event, entry] of passing) {
    if (entry.after !== after) continue;
    if (entry.question) rows.push({ key: `q${event}`, kind: "question", node: entry.question });
    rows.push(answerRow(`a-q${event}`, { question: entry.question, states: entry.states }));
  }
}
