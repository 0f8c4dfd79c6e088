import { normalizePath } from "./path.ts";

/**
 * Whether a path is about tokens, credentials or passwords, so that the log is to say who asked for it: EC2's tokens, role and identity credentials, and
 * OpenStack's password.
 */
export function isAudited(path: string): boolean {
  // Most paths are about nothing of the kind, and there is one with every request.
  if (!SUSPICIOUS.test(path)) return false;
  const normal = normalizePath(path)?.toLowerCase();
  // What cannot be read is not looked up either, but an upstream may read it.
  if (normal === undefined) return true;
  return AUDITED.test(normal);
}

const SUSPICIOUS = /token|credential|password|%/i;
const AUDITED =
  /^[^/]+\/(api\/token|meta-data\/(iam\/security-credentials|identity-credentials)(\/.*)?|password)$|^openstack\/[^/]+\/password$/;
