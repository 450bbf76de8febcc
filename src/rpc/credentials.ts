/**
 * How connections are secured: the one place that changes when members prove who they are by
 * certificates. Today ring traffic is plain and meant for loopback or a trusted network.
 */
import { ChannelCredentials, ServerCredentials } from "@grpc/grpc-js";

export function channelCredentials(): ChannelCredentials {
  return ChannelCredentials.createInsecure();
}

export function serverCredentials(): ServerCredentials {
  return ServerCredentials.createInsecure();
}
