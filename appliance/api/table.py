"""Every operation of MediaConnect's API of 2018-11-14, as its clients knew it in 2026: method, path, and what a local flow does with it.

A number is the status of success. `empty NAME`: a list that clients poll, and that has nothing in it here. `-`: not available.
"""

from __future__ import annotations

from typing import NamedTuple


class Row(NamedTuple):
    operation: str
    method: str
    path: str
    does: str  # "201", "empty bridges" or "-"


_TABLE = """
CreateFlow                      POST   /v1/flows                                              201
DescribeFlow                    GET    /v1/flows/<FlowArn>                                    200
ListFlows                       GET    /v1/flows                                              200
UpdateFlow                      PUT    /v1/flows/<FlowArn>                                    202
DeleteFlow                      DELETE /v1/flows/<FlowArn>                                    202
StartFlow                       POST   /v1/flows/start/<FlowArn>                              202
StopFlow                        POST   /v1/flows/stop/<FlowArn>                               202
AddFlowSources                  POST   /v1/flows/<FlowArn>/source                             201
UpdateFlowSource                PUT    /v1/flows/<FlowArn>/source/<SourceArn>                 202
RemoveFlowSource                DELETE /v1/flows/<FlowArn>/source/<SourceArn>                 202
AddFlowOutputs                  POST   /v1/flows/<FlowArn>/outputs                            201
UpdateFlowOutput                PUT    /v1/flows/<FlowArn>/outputs/<OutputArn>                202
RemoveFlowOutput                DELETE /v1/flows/<FlowArn>/outputs/<OutputArn>                202
GrantFlowEntitlements           POST   /v1/flows/<FlowArn>/entitlements                       200
UpdateFlowEntitlement           PUT    /v1/flows/<FlowArn>/entitlements/<EntitlementArn>      202
RevokeFlowEntitlement           DELETE /v1/flows/<FlowArn>/entitlements/<EntitlementArn>      202
ListEntitlements                GET    /v1/entitlements                                       200
TagResource                     POST   /tags/<ResourceArn>                                    204
UntagResource                   DELETE /tags/<ResourceArn>                                    204
ListTagsForResource             GET    /tags/<ResourceArn>                                    200
DescribeFlowSourceMetadata      GET    /v1/flows/<FlowArn>/source-metadata                    200
DescribeFlowSourceThumbnail     GET    /v1/flows/<FlowArn>/source-thumbnail                   200
ListBridges                     GET    /v1/bridges                                            empty bridges
ListGateways                    GET    /v1/gateways                                           empty gateways
ListGatewayInstances            GET    /v1/gateway-instances                                  empty instances
ListOfferings                   GET    /v1/offerings                                          empty offerings
ListReservations                GET    /v1/reservations                                       empty reservations
ListRouterInputs                POST   /v1/routerInputs                                       empty routerInputs
ListRouterOutputs               POST   /v1/routerOutputs                                      empty routerOutputs
ListRouterNetworkInterfaces     POST   /v1/routerNetworkInterfaces                            empty routerNetworkInterfaces
AddBridgeOutputs                POST   /v1/bridges/<BridgeArn>/outputs                        -
AddBridgeSources                POST   /v1/bridges/<BridgeArn>/sources                        -
AddFlowMediaStreams             POST   /v1/flows/<FlowArn>/mediaStreams                       -
AddFlowVpcInterfaces            POST   /v1/flows/<FlowArn>/vpcInterfaces                      -
BatchGetRouterInput             GET    /v1/routerInputs                                       -
BatchGetRouterNetworkInterface  GET    /v1/routerNetworkInterfaces                            -
BatchGetRouterOutput            GET    /v1/routerOutputs                                      -
CreateBridge                    POST   /v1/bridges                                            -
CreateGateway                   POST   /v1/gateways                                           -
CreateRouterInput               POST   /v1/routerInput                                        -
CreateRouterNetworkInterface    POST   /v1/routerNetworkInterface                             -
CreateRouterOutput              POST   /v1/routerOutput                                       -
DeleteBridge                    DELETE /v1/bridges/<BridgeArn>                                -
DeleteGateway                   DELETE /v1/gateways/<GatewayArn>                              -
DeleteRouterInput               DELETE /v1/routerInput/<Arn>                                  -
DeleteRouterNetworkInterface    DELETE /v1/routerNetworkInterface/<Arn>                       -
DeleteRouterOutput              DELETE /v1/routerOutput/<Arn>                                 -
DeregisterGatewayInstance       DELETE /v1/gateway-instances/<GatewayInstanceArn>             -
DescribeBridge                  GET    /v1/bridges/<BridgeArn>                                -
DescribeGateway                 GET    /v1/gateways/<GatewayArn>                              -
DescribeGatewayInstance         GET    /v1/gateway-instances/<GatewayInstanceArn>             -
DescribeOffering                GET    /v1/offerings/<OfferingArn>                            -
DescribeReservation             GET    /v1/reservations/<ReservationArn>                      -
GetRouterInput                  GET    /v1/routerInput/<Arn>                                  -
GetRouterInputSourceMetadata    GET    /v1/routerInput/<Arn>/source-metadata                  -
GetRouterInputThumbnail         GET    /v1/routerInput/<Arn>/thumbnail                        -
GetRouterNetworkInterface       GET    /v1/routerNetworkInterface/<Arn>                       -
GetRouterOutput                 GET    /v1/routerOutput/<Arn>                                 -
ListTagsForGlobalResource       GET    /tags/global/<ResourceArn>                             -
PurchaseOffering                POST   /v1/offerings/<OfferingArn>                            -
RemoveBridgeOutput              DELETE /v1/bridges/<BridgeArn>/outputs/<OutputName>           -
RemoveBridgeSource              DELETE /v1/bridges/<BridgeArn>/sources/<SourceName>           -
RemoveFlowMediaStream           DELETE /v1/flows/<FlowArn>/mediaStreams/<MediaStreamName>     -
RemoveFlowVpcInterface          DELETE /v1/flows/<FlowArn>/vpcInterfaces/<VpcInterfaceName>   -
RestartRouterInput              POST   /v1/routerInput/restart/<Arn>                          -
RestartRouterOutput             POST   /v1/routerOutput/restart/<Arn>                         -
StartRouterInput                POST   /v1/routerInput/start/<Arn>                            -
StartRouterOutput               POST   /v1/routerOutput/start/<Arn>                           -
StopRouterInput                 POST   /v1/routerInput/stop/<Arn>                             -
StopRouterOutput                POST   /v1/routerOutput/stop/<Arn>                            -
TagGlobalResource               POST   /tags/global/<ResourceArn>                             -
TakeRouterInput                 PUT    /v1/routerOutput/takeRouterInput/<RouterOutputArn>     -
UntagGlobalResource             DELETE /tags/global/<ResourceArn>                             -
UpdateBridge                    PUT    /v1/bridges/<BridgeArn>                                -
UpdateBridgeOutput              PUT    /v1/bridges/<BridgeArn>/outputs/<OutputName>           -
UpdateBridgeSource              PUT    /v1/bridges/<BridgeArn>/sources/<SourceName>           -
UpdateBridgeState               PUT    /v1/bridges/<BridgeArn>/state                          -
UpdateFlowMediaStream           PUT    /v1/flows/<FlowArn>/mediaStreams/<MediaStreamName>     -
UpdateGatewayInstance           PUT    /v1/gateway-instances/<GatewayInstanceArn>             -
UpdateRouterInput               PUT    /v1/routerInput/<Arn>                                  -
UpdateRouterNetworkInterface    PUT    /v1/routerNetworkInterface/<Arn>                       -
UpdateRouterOutput              PUT    /v1/routerOutput/<Arn>                                 -
BatchGetDestinationEndpoint     GET    /v1/destinationEndpoints                               -
BatchGetSourceEndpoint          GET    /v1/sourceEndpoints                                    -
ConnectEndpoints                PUT    /v1/connectEndpoints/<DestinationEndpointArn>          -
DeregisterDestinationEndpoint   DELETE /v1/destinationEndpoint/<Arn>                          -
DeregisterSourceEndpoint        DELETE /v1/sourceEndpoint/<Arn>                               -
DisconnectEndpoints             PUT    /v1/disconnectEndpoints/<DestinationEndpointArn>       -
GetDestinationEndpoint          GET    /v1/destinationEndpoint/<Arn>                          -
GetSourceEndpoint               GET    /v1/sourceEndpoint/<Arn>                               -
ListDestinationEndpoints        POST   /v1/destinationEndpoints                               empty destinationEndpoints
ListSourceEndpoints             POST   /v1/sourceEndpoints                                    empty sourceEndpoints
RegisterDestinationEndpoint     POST   /v1/destinationEndpoint                                -
RegisterSourceEndpoint          POST   /v1/sourceEndpoint                                     -
UpdateDestinationEndpoint       PUT    /v1/destinationEndpoint/<Arn>                          -
UpdateSourceEndpoint            PUT    /v1/sourceEndpoint/<Arn>                               -
"""

_BETWEEN_HOSTS = """
SubscribeToEntitlement          POST   /pressbox/v1/subscriptions/<EntitlementArn>            200
EndSubscription                 DELETE /pressbox/v1/subscriptions/<EntitlementArn>            204
"""

ROWS = [Row(*line.split(None, 3)) for line in _TABLE.strip().splitlines()]
BETWEEN_HOSTS = [Row(*line.split(None, 3)) for line in _BETWEEN_HOSTS.strip().splitlines()]
"""What MediaConnect does inside: an entitlement taken up by another host."""
