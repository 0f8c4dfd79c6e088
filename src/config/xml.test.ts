import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseXml, type XmlElement } from "./xml.ts";

const escaped = (text: string) =>
  text.replace(/[&<>]/g, (sign) => `&${{ "&": "amp", "<": "lt", ">": "gt" }[sign]};`);
const write = ({ name, text, children }: XmlElement): string =>
  `<${name}>${escaped(text)}${children.map(write).join("")}</${name}>`;

const name = fc.stringMatching(/^[a-zA-Z][\w-]{0,8}$/);
const text = fc.string({ unit: "grapheme-ascii", maxLength: 10 });
const { element } = fc.letrec<{ element: XmlElement }>((tie) => ({
  element: fc.oneof(
    { depthSize: "small" },
    fc.record({ name, text, children: fc.constant<XmlElement[]>([]) }),
    fc.record({ name, text, children: fc.array(tie("element"), { maxLength: 3 }) }),
  ),
}));

describe("parseXml", () => {
  it("reads what was written", () => {
    fc.assert(
      fc.property(element, (root) => {
        expect(parseXml(write(root))).toEqual(root);
      }),
    );
  });

  it("passes over attributes, prefixes, comments and white space, and takes CDATA and references as text", () => {
    const text = `<?xml version="1.0" encoding="utf-8"?>
<!-- <not-this> -->
<ns:config xmlns:ns="http://www.example/ns" checked = 'yes'>
  <a href="x>y"/><b>1 &lt; 2 &#65;&#x42;<![CDATA[ <&> ]]></b>
</ns:config>
`;
    const { name, children } = parseXml(text);
    expect(name).toBe("config");
    expect(children).toEqual([
      { name: "a", text: "", children: [] },
      { name: "b", text: "1 < 2 AB <&> ", children: [] },
    ]);
  });

  it.each([
    ['<!DOCTYPE a [<!ENTITY b "c">]>\n<a>&b;</a>', "line 1: a document type; expected elements alone"],
    ["<a>\n&b;</a>", "line 2: &b; is not a reference to a character"],
    ["<a>fish & chips</a>", "line 1: & is not a reference to a character"],
    ["<a>&#0;</a>", "line 1: &#0; is not a reference to a character"],
    ["<a>&lt</a>", "line 1: &lt is not a reference to a character"],
    ["<?php ?><a/>", "line 1: a processing instruction; expected elements alone"],
    ["<a>\n<b>\n</a>", "line 3: </a> closes <b>"],
    ["</a>", "line 1: </a> closes nothing"],
    ["<a><b></b>", "line 1: <a> is not closed"],
    ["<a/><b/>", "line 1: a second element, <b>, beside the first"],
    ["<a/>b", "line 1: text outside of any element"],
    ["", "line 1: no element"],
    ["<a", "line 1: not XML"],
    ["<a b=c/>", "line 1: not XML"],
    [`${"<a>".repeat(200)}`, "line 1: more than 100 elements within each other"],
  ])("%j: %s", (text, message) => {
    expect(() => parseXml(text)).toThrow(new SyntaxError(message));
  });

  it("takes any text, or throws SyntaxError", () => {
    const signs = fc.string({ unit: fc.constantFrom(..."<>/!?-[]&;#x\"'= \nab:CDATA") });
    fc.assert(
      fc.property(signs, (text) => {
        try {
          parseXml(text);
        } catch (error) {
          expect(error).toBeInstanceOf(SyntaxError);
        }
      }),
      { numRuns: 1000 },
    );
  });
});
