/** An element: its name without a namespace's prefix, its own text, and the elements inside. */
export interface XmlElement {
  name: string;
  text: string;
  children: XmlElement[];
}

const MAX_DEPTH = 100;
const ENTITIES: Readonly<Record<string, string>> = { lt: "<", gt: ">", amp: "&", quot: '"', apos: "'" };
const COMMENT = "<!--[^]*?-->";
const CDATA = "<!\\[CDATA\\[(?<cdata>[^]*?)\\]\\]>";
const DECLARATION = "<\\?xml\\s[^?]*\\?>";
const ATTRIBUTE = "\\s+[\\w:.-]+\\s*=\\s*(?:\"[^\"<]*\"|'[^'<]*')";
const TAG = `<(?<close>/?)(?:[\\w.-]+:)?(?<name>[\\w.-]+)(?:${ATTRIBUTE})*\\s*(?<empty>/?)>`;
const TOKEN = new RegExp(`${COMMENT}|${CDATA}|${DECLARATION}|${TAG}|(?<text>[^<]+)`, "y");

/**
 * Reads what programs write as XML 1.0: elements, text, CDATA and comments. Attributes are passed over. Document types, and with them entities
 * of one's own, are refused, and so are processing instructions. Throws SyntaxError that names the line.
 */
export function parseXml(text: string): XmlElement {
  const top: XmlElement = { name: "", text: "", children: [] };
  const open = [top];
  const token = new RegExp(TOKEN);
  let at = text.startsWith("\uFEFF") ? 1 : 0;
  const fail = (what: string, offset = 0): never => {
    throw new SyntaxError(`line ${text.slice(0, at + offset).split("\n").length}: ${what}`);
  };
  while (at < text.length) {
    token.lastIndex = at;
    const groups = token.exec(text)?.groups;
    if (groups === undefined) return fail(wrongAt(text, at));
    const { cdata, close, name, empty, text: plain } = groups;
    const inside = open.at(-1)!;
    if (name !== undefined && close === "/") {
      if (open.length === 1 || inside.name !== name) {
        return fail(`</${name}> closes ${inside === top ? "nothing" : `<${inside.name}>`}`);
      }
      open.pop();
    } else if (name !== undefined) {
      const element: XmlElement = { name, text: "", children: [] };
      inside.children.push(element);
      if (empty !== "/") open.push(element);
      if (open.length > MAX_DEPTH) return fail(`more than ${MAX_DEPTH} elements within each other`);
    } else {
      inside.text += cdata ?? decode(plain ?? "", fail);
      if (inside === top && inside.text.trim() !== "") return fail("text outside of any element");
    }
    at = token.lastIndex;
  }
  if (open.length > 1) return fail(`<${open.at(-1)!.name}> is not closed`);
  const [root, second] = top.children;
  if (root === undefined) return fail("no element");
  if (second !== undefined) return fail(`a second element, <${second.name}>, beside the first`);
  return root;
}

function wrongAt(text: string, at: number): string {
  if (text.startsWith("<!DOCTYPE", at)) return "a document type; expected elements alone";
  if (text.startsWith("<?", at)) return "a processing instruction; expected elements alone";
  return "not XML";
}

function decode(text: string, fail: (what: string, offset: number) => never): string {
  return text.replace(
    /&(?:#(\d{1,7})|#x([\da-f]{1,6})|(\w{1,10}))?;?/gi,
    (reference, decimal: string | undefined, hex: string | undefined, name: string | undefined, offset) => {
      const known = reference.endsWith(";") && name !== undefined ? ENTITIES[name] : undefined;
      if (known !== undefined) return known;
      const code = decimal !== undefined ? Number(decimal) : Number.parseInt(hex ?? "", 16);
      // Characters of XML 1.0 (section 2.2), in outline.
      const isCharacter = code >= 0x20 || code === 0x09 || code === 0x0a || code === 0x0d;
      if (reference.endsWith(";") && isCharacter && code <= 0x10ffff) return String.fromCodePoint(code);
      return fail(`${reference} is not a reference to a character`, offset);
    },
  );
}
