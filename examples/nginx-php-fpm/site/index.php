<?php
header('Content-Type: text/plain');
echo "php-fpm ", PHP_VERSION, " behind nginx, asked for ", $_SERVER['REQUEST_URI'], "\n";
