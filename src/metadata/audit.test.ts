import { expect, test } from "vitest";
import { isAudited } from "./audit.ts";
import { readFields } from "./http-syntax.ts";

function audited(path: string, accept = ""): boolean {
  const line = accept === "" ? "" : `Accept: ${accept}\r\n`;
  const fields = readFields(line, 0, line.length);
  if (!Array.isArray(fields)) throw new Error(fields.reason);
  return isAudited({ path, fields });
}

test.each([
  "/latest/api/token",
  "/latest/api/%74oken",
  "/LATEST/Api/Token/",
  "/latest/meta-data/iam/security-credentials",
  "/2021-03-23/meta-data/iam/security-credentials/role",
  "/latest/meta-data/iam/security-credentials;v=1/role",
  "/latest;/meta-data/%69am/security-credentials/role",
  "/;/latest/meta-data/iam/security-credentials/",
  "/latest/meta-data/iam/security-credentials%3fx",
  "/latest/meta-data/identity-credentials/ec2/info",
  "/latest/password",
  "/openstack/latest/password",
  "/openstack/latest/%70assword",
])("%s is audited", (path) => {
  expect(audited(path)).toBe(true);
});

test.each([
  "/",
  "/latest",
  "/latest/",
  "/latest/meta-data/",
  "/2021-03-23/meta-data",
  "/latest/meta-data/iam/",
])("%s is audited where it comes as JSON, with what is in it", (path) => {
  expect(audited(path)).toBe(false);
  expect(audited(path, "*/*")).toBe(false);
  expect(audited(path, "application/json")).toBe(true);
});

test.each([
  "/latest/meta-data/instance-id",
  "/latest/user-data",
  "/openstack/latest/meta_data.json",
  "/a%20b;c/d",
])("%s is not", (path) => {
  expect(audited(path, "application/json")).toBe(false);
});
