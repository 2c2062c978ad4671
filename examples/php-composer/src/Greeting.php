<?php

namespace Shop;

final class Greeting
{
    public function __construct(private string $path)
    {
    }

    public function __toString(): string
    {
        return "hello from $this->path\n";
    }
}
