// The request as a command or program.

/** Text in single quotes for a shell. */
const shell = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

/** Text as a C string. Bytes that are no printable ASCII are written in octal, which ends by itself. */
function c(text) {
  let out = "";
  for (const byte of new TextEncoder().encode(text)) {
    const letter = String.fromCharCode(byte);
    if (letter === "\n") out += "\\n";
    else if (letter === '"' || letter === "\\") out += `\\${letter}`;
    // Two question marks in a row may begin a trigraph.
    else if (letter === "?") out += "\\?";
    else if (byte < 32 || byte > 126) out += `\\${byte.toString(8).padStart(3, "0")}`;
    else out += letter;
  }
  return `"${out}"`;
}

/** JSON that is also an expression of Python. */
function python(value, indent = "") {
  if (value === true) return "True";
  if (value === false) return "False";
  if (value === null) return "None";
  if (typeof value !== "object") return JSON.stringify(value);
  const inner = `${indent}    `;
  const lines = Object.entries(value).map(([name, one]) => `${inner}${JSON.stringify(name)}: ${python(one, inner)},\n`);
  return lines.length ? `{\n${lines.join("")}${indent}}` : "{}";
}

export function code(form, request, origin, needsKey) {
  if (form === "curl") {
    const key = needsKey ? ` \\\n  -H "authorization: Bearer $DICAST_API_KEY"` : "";
    return `curl ${origin}/v1/judge \\\n  -H 'content-type: application/json'${key} \\\n  -d ${shell(JSON.stringify(request, null, 2))}\n`;
  }
  if (form === "python") {
    const key = needsKey ? `, "authorization": "Bearer " + os.environ["DICAST_API_KEY"]` : "";
    return `import json\n${needsKey ? "import os\n" : ""}import urllib.request\n\nrequest = ${python(request)}\n`
      + `call = urllib.request.Request(\n    ${JSON.stringify(`${origin}/v1/judge`)},\n    json.dumps(request).encode(),\n    {"content-type": "application/json"${key}},\n)\n`
      + `with urllib.request.urlopen(call) as answer:\n    verdict = json.load(answer)\nprint(verdict["scores"], verdict["ranking"])\n`;
  }
  const texts = Object.entries(request.responses);
  const open = `/* cc judge.c $(pkg-config --cflags --libs dicast) */\n#include <stdio.h>\n#include <dicast.h>\n\nint main(void) {\n`
    + `    dicast_error *error = NULL;\n    dicast_judge *judge = NULL;\n    /* A model of this machine, or the URL of a server of models. */\n`
    + `    if (dicast_judge_open(dicast_str_cstr("{\\"model\\": \\"judge.gguf\\"}"), NULL, &judge, &error) != DICAST_OK) {\n`
    + `        fprintf(stderr, "%s\\n", dicast_error_message(error).data);\n        dicast_error_free(error);\n        return 1;\n    }\n`;
  if (request.rubric) {
    return `${open}    dicast_request *request = NULL;\n    dicast_verdict *verdict = NULL;\n`
      + `    dicast_str json = dicast_str_cstr(${c(JSON.stringify(request))});\n`
      + `    if (dicast_request_from_json(json, &request, &error) != DICAST_OK ||\n`
      + `        dicast_judge_judge(judge, request, &verdict, &error) != DICAST_OK) {\n`
      + `        fprintf(stderr, "%s\\n", dicast_error_message(error).data);\n        dicast_error_free(error);\n    }\n`
      + `    for (size_t i = 0; i < dicast_verdict_count(verdict); i++)\n`
      + `        printf("%s: %.3f\\n", dicast_verdict_name(verdict, i).data, dicast_verdict_score(verdict, i));\n`
      + `    dicast_verdict_free(verdict);\n    dicast_request_free(request);\n    dicast_judge_free(judge);\n    return 0;\n}\n`;
  }
  return `${open}    dicast_str texts[] = {\n${texts.map(([, text]) => `        dicast_str_cstr(${c(text)}),\n`).join("")}    };\n`
    + `    const char *names[] = {${texts.map(([name]) => c(name)).join(", ")}};\n`
    + `    double rewards[${texts.length}];\n    int32_t statuses[${texts.length}];\n`
    + `    dicast_judge_rewards(judge, dicast_str_cstr(${c(request.principle)}),\n                         dicast_str_cstr(${c(request.prompt)}),\n`
    + `                         texts, ${texts.length}, NULL, rewards, statuses, NULL);\n`
    + `    for (int i = 0; i < ${texts.length}; i++)\n        printf("%s: %.3f (status %d)\\n", names[i], rewards[i], (int)statuses[i]);\n`
    + `    dicast_judge_free(judge);\n    return 0;\n}\n`;
}
