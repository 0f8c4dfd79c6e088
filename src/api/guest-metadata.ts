import * as z from "zod";
import { MetadataError } from "../agent/metadata-documents.ts";
import { ApiError, ERRORS } from "./errors.ts";
import { type ApiServer, UNCHECKED } from "./schemas.ts";
import type { ApiAgent } from "./server.ts";

const tree = z.record(z.string(), z.unknown());

/** For the document: the values are the agent's to judge, as they are in the configuration. */
export const guestMetadataBodySchema = z
  .strictObject({
    instanceId: z.string(),
    hostname: z.string(),
    publicKeys: z.union([z.array(z.string()), z.record(z.string(), z.string())]),
    userData: z.union([z.string(), z.strictObject({ base64: z.string() })]),
    availabilityZone: z.string(),
    region: z.string(),
    instanceType: z.string(),
    imageId: z.string(),
    tags: z.record(z.string(), z.string()),
    credentials: z.strictObject({
      role: z.string(),
      accessKeyId: z.string(),
      secretAccessKey: z.string(),
      token: z.string(),
      expiration: z.iso.datetime(),
    }),
    network: z.strictObject({ subnet: z.string(), mtu: z.int(), nameservers: z.array(z.string()) }).partial(),
    ec2: z
      .strictObject({ "meta-data": tree, dynamic: tree })
      .partial()
      .describe("Merged (RFC 7396) over what is given in EC2's form."),
    openstack: z
      .strictObject({
        "meta_data.json": tree,
        "network_data.json": tree,
        "vendor_data.json": tree,
        "vendor_data2.json": tree,
      })
      .partial()
      .describe("Merged (RFC 7396) over OpenStack's documents."),
  })
  .partial()
  .meta({ id: "GuestMetadata", description: "What is said about a guest for the builtin metadata service." });

const PATCH_TYPE = "application/merge-patch+json";

/** `GET`, `PUT`, `PATCH` and `DELETE /v1/metadata/KEY`: what is said about a guest for the builtin metadata service. */
export function registerGuestMetadata(
  server: ApiServer,
  { guestMetadata }: Pick<ApiAgent, "guestMetadata">,
): void {
  const params = z.strictObject({
    key: z.string().describe("The name of an interface, or the UUID of an instance."),
  });
  const querystring = z.strictObject({});
  const response = { 200: guestMetadataBodySchema, ...ERRORS };
  const path = "/v1/metadata/:key";

  function read(key: string) {
    const found = guestMetadata.get(key);
    if (found === undefined) throw new ApiError(404, `nothing is said about ${JSON.stringify(key)}`);
    return found;
  }

  server.addContentTypeParser(
    PATCH_TYPE,
    { parseAs: "string" },
    server.getDefaultJsonParser("error", "error"),
  );
  server.get(
    path,
    { schema: { summary: "What counts for a guest", params, querystring, response } },
    async ({ params: { key } }) => read(key),
  );
  server.put(
    path,
    {
      schema: {
        summary: "Says what counts for a guest",
        description: "Kept over restarts; counts before files and configuration.",
        params,
        querystring,
        body: guestMetadataBodySchema,
        response,
      },
      ...UNCHECKED,
    },
    async ({ params: { key }, body }) => {
      trySaying(() => guestMetadata.set(key, body));
      return read(key);
    },
  );
  server.patch(
    path,
    {
      schema: {
        summary: "Changes what counts for a guest",
        description: `A JSON merge patch (RFC 7396), as application/json or ${PATCH_TYPE}. What results is set.`,
        params,
        querystring,
        body: z.unknown(),
        response,
      },
      ...UNCHECKED,
    },
    async ({ params: { key }, body }) => {
      trySaying(() => guestMetadata.patch(key, body));
      return read(key);
    },
  );
  server.delete(
    path,
    {
      schema: {
        summary: "Removes what was set; files and configuration count again",
        params,
        querystring,
        response: { 200: z.strictObject({}), ...ERRORS },
      },
    },
    async ({ params: { key } }) => {
      if (!trySaying(() => guestMetadata.remove(key)))
        throw new ApiError(404, `nothing was set for ${JSON.stringify(key)}`);
      return {};
    },
  );
}

function trySaying<T>(change: () => T): T {
  try {
    return change();
  } catch (error) {
    if (!(error instanceof MetadataError)) throw error;
    throw new ApiError(400, error.message, error.errors);
  }
}
