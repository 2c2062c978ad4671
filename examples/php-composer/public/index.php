<?php

require __DIR__ . '/../vendor/autoload.php';

echo new Shop\Greeting($_SERVER['REQUEST_URI']);
