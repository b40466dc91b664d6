"""What a stage needs to swap on Solana: pools, the nodes' addresses and a wallet. A paper stage has nothing of it.

The secrets are made by whoever has the account, before the deployment, and named by their ARNs: neither the template
nor a function's configuration ever holds an address with a key in it, or a private key.
"""

from __future__ import annotations

import hashlib
import shutil

from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra.bundle import BUILD, make_readable
from infra.context import LiveConfig
from infra.python_function import RUNTIME, PythonFunction

_POOLS = "pools.json"


class Live(Construct):
    """The live market, for the functions that are connected to it."""

    def __init__(self, scope: Construct, construct_id: str, live: LiveConfig, *, emulated: bool = False) -> None:
        """Make what the functions share.

        Args:
            emulated: an emulator runs the functions on this machine, and unpacks layers wherever it likes.
        """
        super().__init__(scope, construct_id)
        self._live = live
        content = live.pools.read_bytes()
        key = hashlib.sha256(content).hexdigest()
        folder = BUILD / f"pools-{key[:16]}"
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(live.pools, folder / _POOLS)
        make_readable(folder)
        self._path = str(folder / _POOLS) if emulated else f"/opt/{_POOLS}"
        self._pools = lambda_.LayerVersion(
            self,
            "Pools",
            description="Which pools and tokens are traded",
            code=lambda_.Code.from_asset(str(folder), asset_hash=key),
            compatible_runtimes=[RUNTIME],
        )

    def connect(self, function: PythonFunction, *, signs: bool = False, sends: bool = False) -> None:
        """Let a function read the market.

        Args:
            signs: whether it signs transactions; any other knows the wallet's address, and cannot read its key.
            sends: whether it sends what was signed.
        """
        live = self._live
        function.function.add_layers(self._pools)
        function.configure(
            market="solana",
            pools=self._path,
            rpc_url=f"secret:{live.nodes_secret}",
            signer=f"secret:{live.wallet_secret}" if signs else f"address:{live.wallet}",
            priority_fee_percentile=live.priority_fee_percentile,
            priority_fee_max_microlamports=live.priority_fee_max_microlamports,
            max_slippage_bps=live.max_slippage_bps,
        )
        secrets = [live.nodes_secret]
        if signs:
            secrets.append(live.wallet_secret)
        if sends and live.send_secret is not None:
            function.configure(send_url=f"secret:{live.send_secret}")
            secrets.append(live.send_secret)
        function.allow(["secretsmanager:GetSecretValue"], secrets)
