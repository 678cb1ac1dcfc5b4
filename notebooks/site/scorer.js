// The order of what a search finds: the functions and classes of the library, then its modules, then pages of text.
var Scorer = {
  score: ([, title, , , score, , kind]) =>
    kind === "object" && /^minigpt2\.(plain|exercises)\b/.test(title) ? score - 15 : score,
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 5, 1: 20, 2: -5 }, // 0 a module, 1 a function or class
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
