"""CloudFront and a firewall in front of both APIs, where the context asks for it (``edge``).

HTTP APIs take no firewall, so it stands in CloudFront. So that nobody walks around it, CloudFront adds a key to what it
passes on, and both authorizers and the HTTP function refuse whatever comes without it. One address serves everything:
the page, the API and the sockets.
https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/restrict-access-to-load-balancer.html
"""

from __future__ import annotations

from aws_cdk import CfnOutput, Duration, RemovalPolicy, SecretValue, Stack, Token
from aws_cdk import aws_certificatemanager as acm
from aws_cdk import aws_cloudfront as cloudfront
from aws_cdk import aws_cloudfront_origins as origins
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

from infra.config import Config, ConfigError
from infra.context import EDGE_REGION, EdgeConfig
from infra.findings import acknowledge
from infra.firewall import firewall
from infra.http_api import HttpApi
from infra.python_function import PythonFunction
from infra.websocket_api import WebSocketApi
from order_engine.settings import ORIGIN_KEY_HEADER

# What CloudFront would keep for ten seconds otherwise, also of an API: an order that is not found yet is found soon.
# https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/HTTPStatusCodes.html
_ERRORS = (400, 403, 404, 405, 414, 416, 500, 501, 502, 503, 504)


class Edge(Construct):
    """The distribution, its key and its firewall; tells the functions of them.

    Raises:
        ConfigError: the firewall must lie in another region, and its ARN is not given.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        config: Config,
        edge: EdgeConfig,
        *,
        http: HttpApi,
        websocket: WebSocketApi,
        authorizer: PythonFunction,
    ) -> None:
        super().__init__(scope, construct_id)
        self._key = secretsmanager.Secret(
            self,
            "OriginKey",
            description=f"What CloudFront shows to the APIs of {config.stack_name}",
            generate_secret_string=secretsmanager.SecretStringGenerator(password_length=48, exclude_punctuation=True),
            removal_policy=RemovalPolicy.DESTROY,
        )
        acknowledge(
            self._key,
            "AwsSolutions-SMG4",
            "A rotation must reach CloudFront by a deployment, in the middle of it; docs say how.",
        )
        self._distribution = self._distribute(config, edge, http, websocket)
        self.domain = edge.domain or self._distribution.distribution_domain_name
        for function in (http.submit, authorizer):
            function.allow(["secretsmanager:GetSecretValue"], [self._key.secret_arn])
            function.configure(origin_key_arn=self._key.secret_arn)
        # Clients use these addresses: the APIs' own answer nobody else.
        http.submit.configure(websocket_url=f"wss://{self.domain}/{websocket.stage.stage_name}")
        http.output.value = f"https://{self.domain}"
        websocket.output.value = f"wss://{self.domain}/{websocket.stage.stage_name}"
        name = CfnOutput(
            self,
            "Domain",
            value=self._distribution.distribution_domain_name,
            description="CloudFront's name; a name of your own is an alias (CNAME) of it",
        )
        name.override_logical_id("EdgeDomain")
        key = CfnOutput(self, "Key", value=self._key.secret_arn, description="The key between CloudFront and the APIs")
        key.override_logical_id("OriginKeyArn")

    def _distribute(
        self, config: Config, edge: EdgeConfig, http: HttpApi, websocket: WebSocketApi
    ) -> cloudfront.Distribution:
        api, socket = self._origin(edge, http.api.api_id), self._origin(edge, websocket.api.api_id)
        certificate = edge.certificate
        distribution = cloudfront.Distribution(
            self,
            "Distribution",
            comment=config.stack_name,
            web_acl_id=edge.firewall or self._firewall(config, edge),
            domain_names=[edge.domain] if edge.domain else None,
            certificate=acm.Certificate.from_certificate_arn(self, "Certificate", certificate) if certificate else None,
            minimum_protocol_version=cloudfront.SecurityPolicyProtocol.TLS_V1_2_2021 if certificate else None,
            http_version=cloudfront.HttpVersion.HTTP2_AND_3,
            default_behavior=self._page(api),
            additional_behaviors={
                "/api/*": _uncached(api),
                "/oidc/*": _uncached(api),
                "/health": _uncached(api),
                # The stage's name begins the path, here and there.
                f"/{websocket.stage.stage_name}": _uncached(socket),
            },
            error_responses=[
                cloudfront.ErrorResponse(http_status=status, ttl=Duration.seconds(0)) for status in _ERRORS
            ],
        )
        acknowledge(distribution, "AwsSolutions-CFR1", "Who may trade is a matter of keys, not of countries.")
        acknowledge(
            distribution,
            "AwsSolutions-CFR3",
            "API Gateway logs every request; CloudFront's log would hold the tickets of sockets, in query strings.",
        )
        if certificate is None:
            acknowledge(
                distribution,
                "AwsSolutions-CFR4",
                "CloudFront's own name takes older TLS too; a name of one's own (edgeDomain) takes 1.2 and 1.3 only.",
            )
        return distribution

    def _origin(self, edge: EdgeConfig, api_id: str) -> origins.HttpOrigin:
        stack = Stack.of(self)
        version = edge.key_version
        # CloudFormation puts the value in while it deploys: the template has the secret's name only.
        key = (
            SecretValue.secrets_manager(self._key.secret_arn, version_id=version) if version else self._key.secret_value
        )
        return origins.HttpOrigin(
            f"{api_id}.execute-api.{stack.region}.{stack.url_suffix}",
            protocol_policy=cloudfront.OriginProtocolPolicy.HTTPS_ONLY,
            origin_ssl_protocols=[cloudfront.OriginSslPolicy.TLS_V1_2],
            read_timeout=Duration.seconds(30),
            custom_headers={ORIGIN_KEY_HEADER: key.unsafe_unwrap()},
        )

    def _page(self, origin: origins.HttpOrigin) -> cloudfront.BehaviorOptions:
        """The page says itself what may be kept: files that are named by their content for a year, nothing else."""
        return cloudfront.BehaviorOptions(
            origin=origin,
            viewer_protocol_policy=cloudfront.ViewerProtocolPolicy.REDIRECT_TO_HTTPS,
            allowed_methods=cloudfront.AllowedMethods.ALLOW_ALL,
            cache_policy=cloudfront.CachePolicy(
                self,
                "AsToldByThePage",
                comment="As long as the origin says",
                min_ttl=Duration.seconds(0),
                default_ttl=Duration.seconds(0),
                max_ttl=Duration.days(365),
                enable_accept_encoding_gzip=True,
            ),
            # The page comes compressed.
            compress=False,
        )

    def _firewall(self, config: Config, edge: EdgeConfig) -> str:
        region = Stack.of(self).region
        if not Token.is_unresolved(region) and region != EDGE_REGION:
            raise ConfigError(
                f"CloudFront takes firewalls of {EDGE_REGION} only, and this stage is in {region}: "
                f"make firewall STAGE={config.stage} prints the ARN to give as edgeFirewall."
            )
        return firewall(self, "Firewall", config.stack_name, edge.rate).attr_arn


def _uncached(origin: origins.HttpOrigin) -> cloudfront.BehaviorOptions:
    """Everything that the client sends goes to the origin, but the host: API Gateway finds its API by that.

    A redirect would invite clients to send their keys in plain text first.
    https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/distribution-working-with.websockets.html
    """
    return cloudfront.BehaviorOptions(
        origin=origin,
        viewer_protocol_policy=cloudfront.ViewerProtocolPolicy.HTTPS_ONLY,
        allowed_methods=cloudfront.AllowedMethods.ALLOW_ALL,
        cache_policy=cloudfront.CachePolicy.CACHING_DISABLED,
        origin_request_policy=cloudfront.OriginRequestPolicy.ALL_VIEWER_EXCEPT_HOST_HEADER,
        compress=False,
    )
