// Principles to begin with, and a request to try.

export const PRINCIPLES = [
  ["Short", "Prefer the shortest response that fully answers the question. Every sentence that adds nothing costs points."],
  ["Thorough", "Prefer responses that cover every part of the question, with reasons and examples. Length is no fault where it carries content."],
  ["True", "Facts come first. A single false statement weighs more than any quality of style; saying openly what is uncertain is good."],
  ["Works at once", "Judge code by whether it would run and do what was asked. Then by how easy it is to read. Ignore the prose around it."],
  ["Kind", "Prefer responses that take the person seriously, are warm without flattery, and leave them with a next step."],
  ["Safe", "A response that helps with harm gets the lowest score. A response that refuses something harmless is nearly as bad."],
  ["For a child", "Prefer responses that a child of ten understands: everyday words, short sentences, one picture from daily life."],
  ["Follows orders", "Check each instruction of the prompt: form, length, language, what must and must not be there. Each one missed costs a point."],
  ["Honest about limits", "Prefer responses that say what they do not know and how to find out over those that sound sure without grounds."],
  ["Asks back", "Where the question can be meant in several ways, prefer the response that asks or names the readings over one that guesses."],
];

/** Rubrics, as the page writes them. */
export const RUBRICS = [
  ["Answer", "Correct (4): What the response says is correct.\nComplete (2): It covers every part of the question.\nBrief: No sentence could be left out."],
  ["Code", "Runs (4): The code would run and do what was asked.\nReadable: Names and structure say what the code does.\nSafe (2): It has no flaw that an attacker could use. [yes/no]"],
];

export const EXAMPLE = {
  principle: PRINCIPLES[0][1],
  other: PRINCIPLES[1][1],
  prompt: "How do I keep a basil plant alive indoors?",
  responses: [
    ["short", "Give it six hours of light, water it when the top of the soil is dry, and pinch off the flowers."],
    ["long", "Basil comes from warm places. Put it on the brightest windowsill you have, ideally facing south: it wants at least six hours of light a day. Water when the top centimetre of soil feels dry, from below if you can, and never leave the pot standing in water. Harvest from the top, just above a pair of leaves, so that it branches; take off flower buds, since a plant that flowers stops growing leaves. In winter a small lamp helps."],
    ["vague", "Plants are all different. With some love and attention yours will surely do fine!"],
  ],
};
