/** What the lab's DNS server answers, as a pure function of the query (RFC 1035, section 4). */

/** Every A query's answer, from a range for documentation (RFC 5737). */
export const DNS_ADDRESS = "203.0.113.53";

const HEADER_LENGTH = 12;
const TYPE_A = 1;
const TYPE_TXT = 16;
const CLASS_IN = 1;
/** Longest character-string of a TXT record (RFC 1035, section 3.3). */
const MAX_STRING = 255;
const TTL = 60;

/** Where the question that starts at byte 12 ends, and its type; undefined when it lies. */
function readQuestion(query: Buffer): { end: number; type: number; firstLabel: string } | undefined {
  let offset = HEADER_LENGTH;
  const firstLength = query[offset] ?? 0;
  for (;;) {
    const length = query[offset];
    if (length === undefined || length > 63) return undefined;
    offset += 1 + length;
    if (length === 0) break;
  }
  if (offset + 4 > query.length) return undefined;
  return {
    end: offset + 4,
    type: query.readUInt16BE(offset),
    firstLabel: query.toString("latin1", HEADER_LENGTH + 1, HEADER_LENGTH + 1 + firstLength).toLowerCase(),
  };
}

/** A TXT record's data: the texts, each in as many character-strings as it takes. */
function txtData(text: Buffer): Buffer {
  const parts: Buffer[] = [];
  for (let offset = 0; offset < text.length; offset += MAX_STRING) {
    const part = text.subarray(offset, offset + MAX_STRING);
    parts.push(Buffer.of(part.length), part);
  }
  return Buffer.concat(parts);
}

/**
 * The answer to a query, undefined when it is none: A gets `DNS_ADDRESS`; TXT gets `client`, the address that the
 * query came from, and when the name's first label is `size-N`, a second record that brings the message to N bytes or
 * a few more; other types get no record.
 */
export function dnsAnswer(query: Buffer, client: string): Buffer | undefined {
  if (query.length < HEADER_LENGTH || query.readUInt16BE(4) !== 1 || (query[2]! & 0x80) !== 0)
    return undefined;
  const question = readQuestion(query);
  if (question === undefined) return undefined;

  const records: Buffer[] = [];
  const add = (type: number, data: Buffer) => {
    const record = Buffer.alloc(12);
    record.writeUInt16BE(0xc000 | HEADER_LENGTH, 0); // a pointer to the question's name
    record.writeUInt16BE(type, 2);
    record.writeUInt16BE(CLASS_IN, 4);
    record.writeUInt32BE(TTL, 6);
    record.writeUInt16BE(data.length, 10);
    records.push(Buffer.concat([record, data]));
  };
  if (question.type === TYPE_A) add(TYPE_A, Buffer.from(DNS_ADDRESS.split(".").map(Number)));
  if (question.type === TYPE_TXT) {
    add(TYPE_TXT, txtData(Buffer.from(client)));
    const size = Number(/^size-(\d{1,5})$/.exec(question.firstLabel)?.[1] ?? 0);
    const padding = size - question.end - records[0]!.length - 12;
    if (padding > 0) add(TYPE_TXT, txtData(Buffer.alloc(padding, "x")));
  }

  const header = Buffer.alloc(HEADER_LENGTH);
  query.copy(header, 0, 0, 4);
  header[2]! |= 0x84; // a response, from the authority
  header[3] = 0;
  header.writeUInt16BE(1, 4);
  header.writeUInt16BE(records.length, 6);
  return Buffer.concat([header, query.subarray(HEADER_LENGTH, question.end), ...records]);
}
