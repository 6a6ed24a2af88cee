package io.asyncflow.worker;

import java.nio.charset.StandardCharsets;

/** Texts that a broker takes. */
final class Texts {
    private static final int MESSAGE_BYTES_MAX = 1024;

    private Texts() {}

    /** Cuts a message at 1,024 bytes, between characters. */
    static String cut(String message) {
        if (message == null) {
            return "";
        }
        // Half characters become question marks.
        byte[] bytes = message.getBytes(StandardCharsets.UTF_8);
        int end = Math.min(bytes.length, MESSAGE_BYTES_MAX);
        while (end < bytes.length && (bytes[end] & 0xc0) == 0x80) {
            end--;
        }
        return new String(bytes, 0, end, StandardCharsets.UTF_8);
    }

    static boolean hasControl(String text) {
        return text.codePoints().anyMatch(Character::isISOControl);
    }

    static int bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8).length;
    }
}
