/** Draws openapi.json: each route with what it takes, what it answers, and a form to try it. */

const TOKEN_KEY = "wolfscale-token"; // the dashboard's, so that a tab asks for it once
const SHOWN_DEPTH = 6;

const place = (id) => document.getElementById(id);

/** An element with attributes, text and children. */
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** Text with `code` in it. */
function prose(text) {
  return (text ?? "").split(/`([^`]*)`/).map((part, index) => (index % 2 ? element("code", {}, part) : part));
}

/** Paragraphs of such text. */
function paragraphs(text) {
  return (text ?? "")
    .split(/\n\s*\n/)
    .filter((part) => part.trim())
    .map((part) => element("p", {}, ...prose(part)));
}

function request(path, options = {}) {
  const token = sessionStorage.getItem(TOKEN_KEY);
  const headers = { ...options.headers };
  if (token !== null) headers.Authorization = `Bearer ${token}`;
  return fetch(path, { ...options, headers, cache: "no-store", redirect: "error" });
}

class Document {
  constructor(json) {
    this.json = json;
  }

  /** What a `$ref` stands for. */
  resolve(value) {
    let found = value;
    for (let hops = 0; found?.$ref && hops < 10; hops += 1) {
      found = found.$ref.slice(2).split("/").reduce((part, name) => part?.[name], this.json);
    }
    return found ?? {};
  }

  /** A schema in one line. */
  typeOf(schema, depth = 0) {
    const name = schema?.$ref?.split("/").pop();
    const real = this.resolve(schema);
    const choices = real.anyOf ?? real.oneOf ?? real.allOf;
    if (choices) return [...new Set(choices.map((choice) => this.typeOf(choice, depth)))].join(" or ");
    if (real.const !== undefined) return JSON.stringify(real.const);
    if (real.enum) return real.enum.map((value) => JSON.stringify(value)).join(" or ");
    if (real.type === "array") return depth < 3 ? `list of ${this.typeOf(real.items, depth + 1)}` : "list";
    if (name) return name;
    if (real.format) return `${real.type} (${real.format})`;
    return real.type ?? "anything";
  }

  /** A value that fits a schema. */
  example(schema, depth = 0) {
    const real = this.resolve(schema);
    const given = real.examples?.[0] ?? real.example ?? real.default ?? real.const ?? real.enum?.[0];
    if (given !== undefined) return given;
    const choices = real.anyOf ?? real.oneOf ?? real.allOf;
    if (choices) return this.example(choices[0], depth);
    if (depth > SHOWN_DEPTH) return null;
    if (real.type === "object") {
      const properties = Object.entries(real.properties ?? {});
      return Object.fromEntries(properties.map(([name, part]) => [name, this.example(part, depth + 1)]));
    }
    if (real.type === "array") return real.items ? [this.example(real.items, depth + 1)] : [];
    return { string: "", integer: 0, number: 0, boolean: false }[real.type] ?? null;
  }

  /** An object's fields as rows: name, type, meaning. */
  fields(schema) {
    const real = this.resolve(schema);
    const required = new Set(real.required ?? []);
    return Object.entries(real.properties ?? {}).map(([name, part]) => [
      element("code", {}, name),
      `${this.typeOf(part)}${required.has(name) ? ", required" : ""}`,
      element("span", {}, ...prose(this.resolve(part).description)),
    ]);
  }

  /** The schema of a body. */
  bodySchema(content) {
    return this.resolve(content)?.content?.["application/json"]?.schema;
  }
}

function table(head, rows) {
  if (!rows.length) return null;
  const cells = (tag, row) => element("tr", {}, ...row.map((cell) => element(tag, {}, cell)));
  const whole = element("table", {}, element("thead", {}, cells("th", head)));
  whole.append(element("tbody", {}, ...rows.map((row) => cells("td", row))));
  return element("div", { class: "table" }, whole);
}

function pretty(value) {
  return JSON.stringify(value, null, 2);
}

function drawResponses(api, operation) {
  const rows = Object.entries(operation.responses).map(([status, response]) => {
    const schema = api.bodySchema(response);
    return [
      element("code", {}, status),
      element("span", {}, ...prose(api.resolve(response).description)),
      schema ? api.typeOf(schema) : "",
    ];
  });
  return table(["status", "when", "body"], rows);
}

/** The form that sends a request, and shows the answer and the same request for a shell. */
function drawTrial(api, path, method, operation) {
  const parameters = (operation.parameters ?? []).map((given) => api.resolve(given));
  const inputs = parameters.map((parameter) => {
    const fallback = api.resolve(parameter.schema).default ?? "";
    const input = element("input", { value: fallback, name: parameter.name, autocomplete: "off" });
    return { parameter, input };
  });
  const schema = api.bodySchema(operation.requestBody);
  const area = schema ? element("textarea", { spellcheck: "false" }, pretty(api.example(schema))) : null;
  const answer = element("pre", { hidden: "" });
  const form = element("form", { class: "try" });
  for (const { parameter, input } of inputs) {
    form.append(element("label", {}, element("code", {}, parameter.name), ` (${parameter.in}) `, input));
  }
  if (area) form.append(element("label", {}, "Body ", area));
  form.append(element("button", {}, "Send"), answer);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const { url, headers } = address(path, inputs);
    if (area) headers["Content-Type"] = "application/json";
    answer.hidden = false;
    answer.textContent = "…";
    try {
      const response = await request(url, { method, headers, body: area?.value });
      const text = await response.text();
      answer.textContent = `${curl(url, method, headers, area?.value)}\n\n${response.status}\n${laidOut(text)}`;
    } catch (error) {
      answer.textContent = `No answer: ${error.message}`;
    }
  });
  return form;
}

/** Where a request goes with the parameters as filled in; an empty one is left out. */
function address(path, inputs) {
  let filled = path;
  const query = new URLSearchParams();
  const headers = {};
  for (const { parameter, input } of inputs) {
    if (parameter.in === "path") filled = filled.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
    else if (input.value === "") continue;
    else if (parameter.in === "query") query.append(parameter.name, input.value);
    else if (parameter.in === "header") headers[parameter.name] = input.value;
  }
  const text = query.toString();
  return { url: filled.slice(1) + (text ? `?${text}` : ""), headers };
}

function laidOut(text) {
  try {
    JSON.parse(text);
  } catch {
    return text;
  }
  // Indented as text: as a value, long integers would lose their last digits.
  return indented(text);
}

/** JSON text with line breaks; what stands in quotes is left as it is. */
function indented(text) {
  let depth = 0;
  const line = () => `\n${"  ".repeat(Math.max(0, depth))}`;
  const parts = text.match(/"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g) ?? [];
  return parts
    .map((part, index) => {
      if (part === "{" || part === "[") {
        if ("}]".includes(parts[index + 1])) return part;
        depth += 1;
        return part + line();
      }
      if (part === "}" || part === "]") {
        if ("{[".includes(parts[index - 1])) return part;
        depth -= 1;
        return line() + part;
      }
      if (part === ",") return part + line();
      return part === ":" ? ": " : part;
    })
    .join("");
}

/** The same request for a shell; the token's place is marked, the token itself is not shown. */
function curl(url, method, headers, body) {
  const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  const parts = ["curl", ...(method === "GET" ? [] : ["-X", method]), quoted(new URL(url, document.baseURI).href)];
  const sent = Object.entries(headers);
  if (sessionStorage.getItem(TOKEN_KEY) !== null) sent.push(["Authorization", "Bearer TOKEN"]);
  for (const [name, value] of sent) parts.push("-H", quoted(`${name}: ${value}`));
  if (body !== undefined) parts.push("-d", quoted(body));
  return parts.join(" ");
}

function drawOperation(api, path, method, operation) {
  const scope = operation["x-wolfscale-scope"] ?? "nothing";
  const needs = scope === "nothing" ? "open to all" : `needs ${scope}`;
  const parameters = (operation.parameters ?? []).map((given) => {
    const parameter = api.resolve(given);
    const type = `${api.typeOf(parameter.schema)}${parameter.required ? ", required" : ""}`;
    const meaning = parameter.description ?? api.resolve(parameter.schema).description;
    return [element("code", {}, parameter.name), parameter.in, type, element("span", {}, ...prose(meaning))];
  });
  const body = api.bodySchema(operation.requestBody);
  const [success] = Object.keys(operation.responses).filter((status) => status.startsWith("2"));
  const result = success ? api.bodySchema(operation.responses[success]) : null;
  const titled = (title, content) => (content ? [element("h3", {}, title), content] : []);
  const [first, ...rest] = (operation.description ?? operation.summary ?? "").split(/\n\s*\n/);
  return element(
    "details",
    { id: operation.operationId },
    element(
      "summary",
      {},
      element("span", { class: "method" }, method),
      element("code", { class: "path" }, path),
      element("span", { class: `scope ${scope}` }, needs),
      element("span", { class: "quiet" }, ...prose(first)),
    ),
    ...paragraphs(rest.join("\n\n")),
    ...titled("Parameters", table(["name", "in", "type", "meaning"], parameters)),
    ...titled("Body", body ? table(["field", "type", "meaning"], api.fields(body)) : null),
    ...titled("Answer", result ? table(["field", "type", "meaning"], api.fields(result)) : null),
    ...titled("Statuses", drawResponses(api, operation)),
    ...titled("Try it", drawTrial(api, path, method, operation)),
  );
}

function draw(json) {
  const api = new Document(json);
  place("version").textContent = json.info.version;
  place("description").replaceChildren(...paragraphs(json.info.description));
  const groups = new Map();
  for (const [path, item] of Object.entries(json.paths)) {
    for (const [method, operation] of Object.entries(item)) {
      const group = operation.tags?.[0] ?? "other";
      if (!groups.has(group)) groups.set(group, []);
      groups.get(group).push(drawOperation(api, path, method.toUpperCase(), operation));
    }
  }
  const sections = [...groups].map(([name, drawn]) => element("section", {}, element("h2", {}, name), ...drawn));
  place("routes").replaceChildren(...sections);
  const wanted = decodeURIComponent(location.hash.slice(1));
  if (wanted) place(wanted)?.setAttribute("open", "");
}

async function load() {
  const state = place("state");
  state.className = "";
  try {
    const response = await request("openapi.json");
    const body = await response.json();
    if (!response.ok) throw new Error(body.message);
    state.textContent = "";
    draw(body);
  } catch (error) {
    state.className = "error";
    state.textContent = error.message;
  }
}

place("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const token = place("token").value.trim();
  if (token) sessionStorage.setItem(TOKEN_KEY, token);
  else sessionStorage.removeItem(TOKEN_KEY);
  load();
});
load();
