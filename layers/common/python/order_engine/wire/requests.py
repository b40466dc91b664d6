"""HTTP requests. Numbers are read exactly: a JSON number never passes through a float."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    WithJsonSchema,
    model_validator,
)

from order_engine.domain import numerals
from order_engine.domain.amounts import limit_min_out, parse_amount, parse_decimal
from order_engine.domain.errors import InvalidAmount, InvalidInput, SameToken
from order_engine.domain.order import OrderRequest
from order_engine.domain.token_list import TokenList
from order_engine.wire.exact_json import OVERLONG
from order_engine.wire.times import from_text

DEFAULT_SLIPPAGE_BPS = 50
MAX_SLIPPAGE_BPS = 5000
NUMBER_PATTERN = r"^[0-9]{1,30}(\.[0-9]{1,30})?$"
BY_NAME = "A token of `GET /api/tokens`, by symbol or by mint."
_U64_OUT = 2**64


def _exact(value: object) -> Decimal:
    """A field's number, bounded: nothing that reads it later needs to fear its size."""
    if value is OVERLONG:
        raise ValueError("The number has more digits than any amount can have.")
    if isinstance(value, str):
        if not re.fullmatch(NUMBER_PATTERN, value):
            raise ValueError('Write the number in plain digits, such as "1.5".')
        return numerals.read_decimal(value)
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise ValueError('Write the number as a string, such as "1.5".')
    return numerals.bounded(value)


def _exact_or_absent(value: object) -> Decimal | None:
    return None if value is None else _exact(value)


def _text(value: object) -> object:
    if isinstance(value, str) and (not value.isprintable() or not value.isascii()):
        raise ValueError("Only printable ASCII characters are allowed here.")
    return value


def _number(description: str, example: str, *, optional: bool = True) -> WithJsonSchema:
    kinds: list[dict[str, Any]] = [{"type": "string", "pattern": NUMBER_PATTERN}, {"type": "number", "minimum": 0}]
    return WithJsonSchema(
        {
            "anyOf": [*kinds, {"type": "null"}] if optional else kinds,
            "description": description,
            "examples": [example],
        }
    )


# A plain validator: left to itself, pydantic tries each type of a union, and writes a Decimal out to do so.
Exact = Annotated[Decimal, PlainValidator(_exact)]
ExactOrAbsent = Annotated[Decimal | None, PlainValidator(_exact_or_absent)]

OrderTypeField = Literal["market", "limit"]
TokenField = Annotated[
    str,
    BeforeValidator(_text),
    Field(
        min_length=1,
        max_length=44,
        description=BY_NAME,
        examples=["SOL"],
    ),
]


class PlaceOrderBody(BaseModel):
    """An order as a client posts it."""

    model_config = ConfigDict(extra="forbid", str_max_length=100, title="PlaceOrder")

    type: OrderTypeField | None = Field(None, description='"market" (the default) or "limit".')
    orderType: OrderTypeField | None = Field(None, description="The same as `type`.")  # noqa: N815
    tokenIn: TokenField  # noqa: N815
    tokenOut: TokenField  # noqa: N815
    amountIn: Annotated[  # noqa: N815
        Exact,
        _number(
            "Whole tokens of `tokenIn`, as a decimal string. A JSON number is read exactly.", "1.5", optional=False
        ),
    ]
    slippageBps: Annotated[int, Field(ge=0, le=MAX_SLIPPAGE_BPS, strict=True)] | None = Field(  # noqa: N815
        None, description=f"Tolerance against the quote in basis points; {DEFAULT_SLIPPAGE_BPS} if absent."
    )
    slippage: Annotated[
        ExactOrAbsent,
        _number("The same tolerance in percent.", "0.5"),
    ] = None
    walletAddress: Annotated[  # noqa: N815
        str | None, Field(pattern=r"^[1-9A-HJ-NP-Za-km-z]{32,44}$", description="Recorded with the order.")
    ] = None
    limitPrice: Annotated[  # noqa: N815
        ExactOrAbsent,
        _number("Limit orders: the least whole `tokenOut` per whole `tokenIn` that you accept.", "152.30"),
    ] = None
    expiresAt: Annotated[  # noqa: N815
        str | None,
        BeforeValidator(_text),
        Field(description="Limit orders: RFC 3339; at most 30 days ahead.", json_schema_extra={"format": "date-time"}),
    ] = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.type and self.orderType and self.type != self.orderType:
            raise ValueError("type and orderType differ; send one of them.")
        if self.slippageBps is not None and self.slippage is not None:
            raise ValueError("Send slippageBps or slippage, not both.")
        return self

    def to_request(self, tokens: TokenList) -> OrderRequest:
        """The order request, in base units. Whether it comes in time is for ``Accept`` to say.

        Args:
            tokens: what is traded.

        Raises:
            InvalidInput: with the field at fault.
        """
        token_in = tokens.named(self.tokenIn, field="tokenIn")
        token_out = tokens.named(self.tokenOut, field="tokenOut")
        if token_in == token_out:
            raise SameToken("tokenIn and tokenOut are the same token.", field="tokenOut")
        kind = self.type or self.orderType or "market"
        amount_in = parse_amount(self.amountIn, token_in, field="amountIn")
        limit_price: Decimal | None = None
        expires_at: int | None = None
        if kind == "market":
            for name in ("limitPrice", "expiresAt"):
                if getattr(self, name) is not None:
                    raise InvalidInput(f"{name} belongs to limit orders.", field=name)
        else:
            if self.limitPrice is None:
                raise InvalidInput("A limit order needs a limitPrice.", field="limitPrice")
            limit_price = parse_decimal(self.limitPrice, field="limitPrice")
            if not 0 < limit_min_out(amount_in, limit_price, token_in, token_out) < _U64_OUT:
                raise InvalidAmount("At this price the output is larger than any account can hold.", field="limitPrice")
            if self.expiresAt is not None:
                expires_at = from_text(self.expiresAt, field="expiresAt")
        return OrderRequest(
            type=kind,
            token_in=token_in,
            token_out=token_out,
            amount_in=amount_in,
            slippage_bps=self._slippage(),
            limit_price=limit_price,
            expires_at=expires_at,
            wallet_address=self.walletAddress,
        )

    def _slippage(self) -> int:
        if self.slippage is None:
            return DEFAULT_SLIPPAGE_BPS if self.slippageBps is None else self.slippageBps
        points = numerals.EXACT.multiply(self.slippage, 100)
        if not 0 <= points <= MAX_SLIPPAGE_BPS:
            raise InvalidAmount(f"slippage lies between 0 and {MAX_SLIPPAGE_BPS // 100} percent.", field="slippage")
        if points != int(points):
            raise InvalidAmount("slippage is in percent with at most two decimals.", field="slippage")
        return int(points)
